import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const root = path.resolve(import.meta.dirname, "../../..");

test("the published library has no assertion left, and works", () => {
  // Inside the project, so that the copy finds koffi.
  const copy = mkdtempSync(path.join(root, "dist/stripped-"));
  try {
    cpSync(path.join(root, "dist/src"), copy, { recursive: true });
    const hadSome = assertionsIn(copy).length > 0;
    const strip = spawnSync(process.execPath, [path.join(root, "scripts/strip-assertions.js"), copy], {
      encoding: "utf8",
    });
    // A suite that tests the published library has taken them out already, and says so.
    assert.equal(strip.status, hadSome ? 0 : 1, strip.stderr + strip.stdout);
    assert.deepEqual(assertionsIn(copy), []);
    const program = `
      const { JitAllocator } = await import(process.argv[1]);
      const allocator = new JitAllocator();
      const spans = Array.from({ length: 100 }, (_, index) => allocator.alloc(64 + index));
      for (const span of spans) span.release();
      allocator.verify();
      console.log(allocator.statistics().allocationCount);`;
    const run = spawnSync(
      process.execPath,
      ["--input-type=module", "-e", program, pathToFileURL(path.join(copy, "index.js")).href],
      { encoding: "utf8" },
    );
    assert.equal(run.stdout.trim(), "0", run.stderr);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
});

/** The lines that begin an assertion, with their files. */
function assertionsIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".js"))
    .flatMap((file) =>
      (readFileSync(path.join(folder, file), "utf8").match(/^\s*assert\(.*/gm) ?? []).map(
        (line) => `${file}: ${line.trim()}`,
      ),
    );
}

test("what is taken out leaves every line and column where it was", () => {
  const folder = mkdtempSync(path.join(root, "dist/stripped-"));
  try {
    const module = path.join(folder, "module.js");
    const before =
      'let a = 1;\nif (a) assert(a > 0, "a)");\n  assert(\n  a === 1,\n); a = 2; notAssert(a);\n';
    writeFileSync(module, before);
    const { status } = spawnSync(process.execPath, [path.join(root, "scripts/strip-assertions.js"), folder]);
    assert.equal(status, 0);
    const after = readFileSync(module, "utf8");
    assert.deepEqual(
      after.split("\n").map((line) => line.trim()),
      ["let a = 1;", "if (a) ;", ";", "", "a = 2; notAssert(a);", ""],
    );
    const places = (text: string): number[] =>
      [text.indexOf("a = 2"), ...text.matchAll(/\n/g)].map((place) =>
        typeof place === "number" ? place : place.index,
      );
    assert.deepEqual(places(after), places(before));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
