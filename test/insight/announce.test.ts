/** announce() and JIT_ALLOCATOR_ANNOUNCE: what is refused, what is written, and what happens where neither is used. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { announce } from "../../src/index.ts";
import { throwsJitError, wrong } from "../support/expectations.ts";
import { needs } from "../support/requirements.ts";

const child = path.join(import.meta.dirname, "announcing-child.js");

interface Printed {
  readonly files: { readonly jitdump?: string; readonly perfMap?: string };
  readonly rx: readonly number[];
  readonly lengths: readonly number[];
}

function run(
  ways: readonly string[],
  environment: Readonly<Record<string, string>>,
): { printed: Printed; said: string } {
  const { stdout, stderr } = spawnSync(process.execPath, [child, ...ways], {
    encoding: "utf8",
    env: { ...process.env, ...environment },
  });
  assert.notEqual(stdout, "", stderr);
  return { printed: JSON.parse(stdout) as Printed, said: stderr };
}

/** A record of a jitdump. */
interface Entry {
  readonly kind: number;
  readonly time: bigint;
  readonly body: DataView;
}

function entriesOf(dump: Uint8Array): readonly Entry[] {
  const view = new DataView(dump.buffer, dump.byteOffset, dump.length);
  assert.equal(view.getUint32(0, true), 0x4a69_5444);
  const entries: Entry[] = [];
  for (let at = view.getUint32(8, true); at < view.byteLength;) {
    const size = view.getUint32(at + 4, true);
    const body = new DataView(dump.buffer, dump.byteOffset + at + 16, size - 16);
    entries.push({ kind: view.getUint32(at, true), time: view.getBigUint64(at + 8, true), body });
    at += size;
  }
  return entries;
}

function loadOf({ body }: Entry): { name: string; rx: number; code: number[] } {
  const bytes = new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  const end = bytes.indexOf(0, 40);
  const name = new TextDecoder().decode(bytes.subarray(40, end));
  const size = Number(body.getBigUint64(24, true));
  assert.equal(bytes.length, end + 1 + size, "the code ends the record");
  return { name, rx: Number(body.getBigUint64(16, true)), code: [...bytes.subarray(end + 1)] };
}

describe("announce", () => {
  test("refuses what is no option, and does nothing then", () => {
    const values = [{ other: true }, { gdb: 1 }, { jitdump: "yes" }, { perfMap: null }, { unwind: "" }];
    for (const options of [null, undefined, 1, "gdb", ...values]) {
      throwsJitError("ERR_INVALID_ARGUMENT", () => announce(wrong(options)));
    }
    assert.deepEqual(announce({}), { jitdump: undefined, perfMap: undefined });
    assert.deepEqual(announce({ gdb: false }), { jitdump: undefined, perfMap: undefined });
  });

  describe("on Linux", { skip: needs("linux", "machineCode") }, () => {
    test("writes a jitdump with each name, each length, and how to unwind what a runtime has added", () => {
      const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-dump-"));
      try {
        const { printed, said } = run(["jitdump"], { JITDUMPDIR: folder });
        assert.equal(said, "");
        const file = printed.files.jitdump ?? "";
        assert.ok(file.startsWith(`${folder}/.debug/jit/`) && /\/jit-\d+\.dump$/.test(file), file);
        const entries = entriesOf(readFileSync(file));
        assert.deepEqual(
          entries.map(({ kind }) => kind),
          [4, 0, 4, 0, 4, 0, 4, 0, 4, 0],
          "each is unwound",
        );
        assert.ok(entries.every(({ time }, index) => time >= (entries[index - 1]?.time ?? 0n)));
        const loads = entries.filter(({ kind }) => kind === 0).map(loadOf);
        const addresses = printed.rx.map((rx) => `code_${rx.toString(16)}`);
        assert.deepEqual(
          loads.map(({ name }) => name),
          ["first", "second?name", addresses[2], "emitted", addresses[4]],
        );
        assert.deepEqual(
          loads.map(({ rx }) => rx),
          printed.rx,
        );
        assert.deepEqual(
          loads.map(({ code }) => code.length),
          [12, 12, 12, ...printed.lengths],
        );
        assert.equal(printed.lengths[0], 12);
        assert.equal(loads[3]?.code[2], 2, "its bytes");
      } finally {
        rmSync(folder, { recursive: true });
      }
    });

    test("warns where memory that belongs to a file can have no perf map", () => {
      const { printed, said } = run(["perfMap"], {});
      const file = printed.files.perfMap ?? "";
      assert.match(file, /^\/tmp\/perf-\d+\.map$/);
      assert.match(said, /useDualMapping: false, useRange: false/);
      assert.equal(readFileSync(file, "utf8"), "");
      rmSync(file);
    });

    test("takes its ways from the environment too, and warns of unknown ones", () => {
      const { printed, said } = run([], { JIT_ALLOCATOR_ANNOUNCE: "perfmap, other" });
      assert.match(said, /JIT_ALLOCATOR_ANNOUNCE knows gdb, jitdump, perfMap, unwind, and not "other"/);
      const file = printed.files.perfMap ?? "";
      assert.ok(existsSync(file), "what came before is done");
      rmSync(file);
    });

    test("warns, and goes on, where the environment asks for what cannot be done", () => {
      const { printed, said } = run([], { JIT_ALLOCATOR_ANNOUNCE: "jitdump", JITDUMPDIR: "/dev/null" });
      assert.match(said, /Code is not announced: Cannot write a jitdump for perf: cannot make a folder/);
      assert.deepEqual(printed.files, {});
    });
  });
});
