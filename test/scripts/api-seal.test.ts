/** The rule that the public API changes together with the changelog. */
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const script = path.resolve(import.meta.dirname, "../../../scripts/api-seal.js");
const { unreleased, sealed, opened, isChangelogAsItWas } = (await import(pathToFileURL(script).href)) as {
  readonly unreleased: (changelog: string) => string;
  readonly sealed: (report: string, changelog: string) => string;
  readonly opened: (file: string) => string | undefined;
  readonly isChangelogAsItWas: (file: string, changelog: string) => boolean;
};

const CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n- one\n\n## [1.0.0]\n\n- old\n";
const REPORT = "export function alloc(): void;\n";

test("what counts of the changelog is what stands under Unreleased", () => {
  assert.equal(unreleased(CHANGELOG), "- one");
  assert.equal(unreleased("## [Unreleased]\n\n### Added\n\n- last\n"), "### Added\n\n- last");
  assert.equal(unreleased("## [1.0.0]\n\n- old\n"), "");
});

test("a report is taken as it was made, and not as somebody wrote it", () => {
  const file = sealed(REPORT, CHANGELOG);
  assert.equal(opened(file), REPORT);
  assert.equal(opened(file.replace("alloc", "malloc")), undefined);
  assert.equal(opened(REPORT), undefined);
  assert.equal(opened(""), undefined);
  // The sum of another changelog does not fit the seal either.
  const other = /changelog (\w+)/.exec(sealed(REPORT, CHANGELOG.replace("one", "two")))?.[1] ?? "";
  assert.equal(opened(file.replace(/changelog \w+/, `changelog ${other}`)), undefined);
});

test("a changelog is as it was until something else stands under Unreleased", () => {
  const file = sealed(REPORT, CHANGELOG);
  assert.equal(isChangelogAsItWas(file, CHANGELOG), true);
  assert.equal(isChangelogAsItWas(file, CHANGELOG.replace("- old", "- older")), true);
  assert.equal(isChangelogAsItWas(file, CHANGELOG.replace("- one", "- one\n- two")), false);
  assert.equal(isChangelogAsItWas("", CHANGELOG), false);
});
