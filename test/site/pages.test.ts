/** Which pages the site has, and where its sidebar has them. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { sectionsOf } from "../../site/pages.ts";

function paths(documents: readonly string[]): Readonly<Record<string, readonly string[]>> {
  const sections = sectionsOf(documents, (source) => `the title of ${source}`);
  return Object.fromEntries(sections.map(({ title, pages }) => [title, pages.map((page) => page.path)]));
}

describe("sectionsOf", () => {
  test("orders the guides it knows, and appends the others", () => {
    const { Guides } = paths([
      "docs/guides/zebra.md",
      "docs/guides/another.md",
      "docs/guides/workers.md",
      "docs/guides/first-jit.md",
    ]);
    assert.deepEqual(Guides, [
      "guides/first-jit.md",
      "guides/workers.md",
      "guides/another.md",
      "guides/zebra.md",
    ]);
  });

  test("takes in a document that no part names", () => {
    assert.deepEqual(paths(["docs/options.md", "docs/brand-new.md"])["Reference"], [
      "options.md",
      "brand-new.md",
    ]);
  });

  test("has a document once, whatever folder it lies in", () => {
    const documents = ["docs/architecture.md", "docs/guides/workers.md", "docs/errors.md", "CHANGELOG.md"];
    const all = Object.values(paths(documents)).flat();
    assert.deepEqual([...all].sort(), [
      "architecture.md",
      "errors.md",
      "guides/workers.md",
      "project/changelog.md",
    ]);
  });

  test("knows no page for a document that is not there", () => {
    assert.deepEqual(Object.values(paths([])).flat(), []);
  });

  test("takes the titles from the documents", () => {
    const [section] = sectionsOf(["docs/guides/linking.md"], () => "Linking");
    assert.deepEqual(section?.pages, [
      { source: "docs/guides/linking.md", path: "guides/linking.md", title: "Linking" },
    ]);
  });
});
