/** A program that can load nothing any more when it makes its first allocator. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { platform } from "../../src/base/platform.ts";
import { runWithFlags, startOf } from "../support/flags.ts";
import { needs } from "../support/requirements.ts";

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A copy of this package, installed in a folder of its own. @returns the folder */
function install(): string {
  const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-preload-"));
  folders.push(folder);
  const require = createRequire(import.meta.url);
  const modules = path.join(folder, "node_modules");
  const copy = path.join(modules, "jit-allocator");
  mkdirSync(copy, { recursive: true });
  cpSync(require.resolve("jit-allocator/package.json"), path.join(copy, "package.json"));
  cpSync(path.join(import.meta.dirname, "../../src"), path.join(copy, "dist/src"), { recursive: true });
  // With koffi's own optional packages beside it, as npm lays them out.
  const koffi = path.resolve(realpathSync(require.resolve("koffi")), "..");
  symlinkSync(koffi, path.join(modules, "koffi"), "junction");
  return folder;
}

/** Imports the library, does what is asked, and makes the first allocator. Returns what that prints. */
function run(before: string, gone: string): string {
  const folder = install();
  const library = pathToFileURL(path.join(folder, "node_modules/jit-allocator/dist/src/index.js")).href;
  const program = path.join(folder, "program.mjs");
  writeFileSync(
    program,
    `import { rmSync } from "node:fs";
    const { JitAllocator, preload } = await import(${JSON.stringify(library)});
    ${before}
    rmSync(${JSON.stringify(path.join(folder, gone))}, { recursive: true });
    try {
      const allocator = new JitAllocator();
      const span = allocator.alloc(64);
      span.write(0, Uint8Array.of(0xc3));
      const handle = allocator.share();
      JitAllocator.attach(handle).detach();
      console.log(span.read(0, 1)[0]);
      allocator.dispose();
    } catch (error) {
      console.log(error.code, error.message);
    }`,
  );
  const { stdout, stderr } = runWithFlags(startOf(program));
  assert.equal(stderr, "");
  return stdout;
}

describe("a program that removes its files before its first allocator", { skip: needs("links") }, () => {
  it("works if it has called preload(), more than once too", () => {
    assert.equal(run("preload(); preload();", "node_modules"), "195\n");
  });

  const skip =
    platform.runtime !== "node" && "this runtime has an interface of its own, which is always there";
  it("is told what it was if it has not", { skip }, () => {
    const said = run("", "node_modules");
    assert.match(
      said,
      /^ERR_FEATURE_NOT_ENABLED Cannot load koffi, .*looked for from file:.*jit-allocator-preload/,
    );
    assert.match(said, /this package itself is not found there any more: .*; call preload\(\) before/);
    assert.doesNotMatch(said, /install again/);
  });

  it("is told to install again where koffi alone is missing", { skip }, () => {
    const said = run("", "node_modules/koffi");
    assert.match(said, /^ERR_FEATURE_NOT_ENABLED .*looked for from file:.*install again/);
  });
});
