/** What stands in the way of a release is named. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";

const script = path.resolve(import.meta.dirname, "../../../scripts/ready-to-publish.js");

/** What the script says of a package with these files. */
function faults(files: Readonly<Record<string, string>>, ...args: readonly string[]): string[] {
  const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-ready-"));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
    const { status, stderr } = spawnSync(process.execPath, [script, ...args], {
      encoding: "utf8",
      env: { ...process.env, PACKAGE_ROOT: folder },
    });
    const lines = stderr.split("\n").filter((line) => line !== "");
    assert.equal(status, lines.length === 0 ? 0 : 1, stderr);
    return lines;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const READY = {
  "package.json": `{ "version": "1.2.3", "author": "Ada" }`,
  "jsr.json": `{ "name": "@ada/jit-allocator", "version": "1.2.3" }`,
  "CHANGELOG.md": "# Changelog\n\n## [1.2.3] - 2027-01-01\n",
};

test("a package whose places agree may be published", () => {
  assert.deepEqual(faults(READY), []);
  assert.deepEqual(faults(READY, "v1.2.3"), []);
});

test("each thing that is missing is named", () => {
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ "package.json": `{ "version": "1.2.3", "author": "OWNER" }` }, /package\.json .*placeholder OWNER/],
    [{ "jsr.json": `{ "name": "@owner/a", "version": "1.2.3" }` }, /jsr\.json .*placeholder OWNER/],
    [{ "jsr.json": `{ "version": "1.2.2" }` }, /jsr\.json has the version 1\.2\.2/],
    [{ "CHANGELOG.md": "## [Unreleased]\n" }, /CHANGELOG\.md has no part \[1\.2\.3\]/],
  ];
  for (const [change, expected] of cases) {
    const said = faults({ ...READY, ...change });
    assert.equal(said.length, 1, said.join("\n"));
    assert.match(said.join(), expected);
  }
  assert.match(faults(READY, "v1.2.4").join(), /the tag is v1\.2\.4/);
});
