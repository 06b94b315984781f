/** docs/security.md names a test for each threat: each is there. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

const root = path.resolve(import.meta.dirname, "../../..");

test("every threat of the security page has its test", () => {
  const page = readFileSync(path.join(root, "docs/security.md"), "utf8");
  const [, section = ""] = page.split("## Threat by threat");
  const rows = (section.split("\n## ")[0] ?? "").split("\n").filter((line) => /^\| (?!threat|-)/.test(line));
  assert.ok(rows.length >= 15, `${rows.length} threats`);
  for (const row of rows) {
    const cells = row.split(" | ").map((cell) => cell.replaceAll("|", "").trim());
    assert.equal(cells.length, 4, row);
    const [, file = "", name = ""] = /^`([\w/.-]+)`: (.+)$/.exec(cells[3] ?? "") ?? [];
    const text = readFileSync(path.join(root, "test", file), "utf8");
    assert.ok(name !== "" && text.includes(name), `${file} has no ${name}`);
  }
});
