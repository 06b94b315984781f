import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

const root = path.resolve(import.meta.dirname, "../../..");

test("the published library has no assertion left, and works", () => {
  // Inside the project, so that the copy finds koffi.
  const copy = mkdtempSync(path.join(root, "dist/stripped-"));
  try {
    cpSync(path.join(root, "dist/src"), copy, { recursive: true });
    const strip = spawnSync(process.execPath, [path.join(root, "scripts/strip-assertions.js"), copy], {
      encoding: "utf8",
    });
    assert.equal(strip.status, 0, strip.stderr + strip.stdout);
    for (const file of readdirSync(copy, { recursive: true, encoding: "utf8" })) {
      if (!file.endsWith(".js")) continue;
      const left = /^\s*assert\(.*/m.exec(readFileSync(path.join(copy, file), "utf8"));
      assert.equal(left, null, `${file}: ${left?.[0] ?? ""}`);
    }
    const program = `
      const { JitAllocator } = await import(process.argv[1]);
      const allocator = new JitAllocator();
      const spans = Array.from({ length: 100 }, (_, index) => allocator.alloc(64 + index));
      for (const span of spans) span.release();
      allocator.verify();
      console.log(allocator.statistics().allocationCount);`;
    const run = spawnSync(
      process.execPath,
      ["--input-type=module", "-e", program, path.join(copy, "index.js")],
      { encoding: "utf8" },
    );
    assert.equal(run.stdout.trim(), "0", run.stderr);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
});
