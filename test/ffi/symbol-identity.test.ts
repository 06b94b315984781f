/**
 * A function calls its own code, whatever random numbers the program has. The paths of libraries in memory were made unique
 * by them: with equal ones the C library gave one function the library, and so the code, of another.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { describe, test } from "node:test";
import type { Ffi } from "../../src/ffi/contract.ts";
import { MemoryFiles } from "../../src/ffi/memory-file.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import { absoluteSymbols, symbolName } from "../../src/ffi/absolute-symbols.ts";
import { platform, type RuntimeName } from "../../src/base/platform.ts";
import { needs } from "../support/requirements.ts";

const child = path.join(import.meta.dirname, "symbol-identity-child.js");

/** What makes the random numbers of all threads the same. */
const FLAGS: Readonly<Record<RuntimeName, readonly string[]>> = {
  node: ["--random-seed=1"],
  deno: ["run", "--allow-all", "--no-check", "--v8-flags=--random-seed=1"],
  bun: [],
};

describe("every function calls its own code", { skip: needs("systemV") }, () => {
  for (const mode of ["workers", "one"]) {
    test(`${mode}, with random numbers that are all the same`, () => {
      const run = spawnSync(process.execPath, [...FLAGS[platform.runtime], child, mode], {
        encoding: "utf8",
      });
      assert.equal(run.signal, null, run.stderr);
      assert.equal(run.stdout, "", run.stderr);
      assert.equal(run.status, 0, run.stderr);
    });
  }
});

describe("what is left mapped when its allocators are disposed", { skip: needs("systemV", "linux") }, () => {
  const left = (mode: string): string => {
    const run = spawnSync(process.execPath, [...FLAGS[platform.runtime], child, mode], { encoding: "utf8" });
    assert.equal(run.stderr.includes("Error"), false, run.stderr);
    return run.stdout;
  };

  test("no library of functions that have one native function each", () => {
    assert.equal(left("left-of-own"), "right\nright\n0\n");
  });

  test("at most one library of the functions of a signature, which leads to their stub", () => {
    assert.match(left("left"), /^right\nright\n[01]\n$/);
  });
});

describe("what is loaded is looked at", { skip: needs("linux", "absoluteSymbols") }, () => {
  const image = (...addresses: number[]): Uint8Array => {
    const bytes = absoluteSymbols(addresses, platform.processor);
    assert.ok(bytes);
    return bytes;
  };

  test("a library leads to the addresses that it was made for, and to no others", () => {
    const files = new MemoryFiles(systemFfi());
    const found = files.use(image(4096, 8192), (file) => {
      // Loaded by somebody, as the interfaces do.
      systemFfi().open([file]).find(symbolName(0), { parameters: [], result: "i32" });
      return [
        files.leadsTo(file, [
          { name: "f0", address: 4096 },
          { name: "f1", address: 8192 },
        ]),
        files.leadsTo(file, [
          { name: "f0", address: 4096 },
          { name: "f1", address: 8193 },
        ]),
        files.leadsTo(file, [{ name: "f2", address: 4096 }]),
        files.leadsTo(`${file}0`, [{ name: "f0", address: 4096 }]),
      ];
    });
    assert.deepEqual(found, [true, false, false, false]);
  });

  test("without a loader to ask, nothing is taken for right", () => {
    const withoutLoader: Pick<Ffi, "open"> = {
      open: (names) => {
        const library = systemFfi().open(names);
        return {
          name: library.name,
          find: (symbol, signature) =>
            symbol.startsWith("dl") ? undefined : library.find(symbol, signature),
        };
      },
    };
    const files = new MemoryFiles(withoutLoader);
    const found = files.use(image(4096), (file) => files.leadsTo(file, [{ name: "f0", address: 4096 }]));
    assert.equal(found, false);
  });
});
