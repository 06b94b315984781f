/** The site for language models, and the addresses that it takes from the manifest. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { llmsFull, llmsIndex } from "../../site/llms.ts";
import { repositoryAddress, siteAddress } from "../../site/manifest.ts";

const sections = [
  {
    title: "Guides",
    pages: [
      { path: "guides/a.md", title: "A", markdown: "# A\n\nThe first. More.\n" },
      { path: "b.md", title: "B", markdown: "# B\n\nThe second.\n" },
    ],
  },
];

test("llms.txt has the project, and a line for each page", () => {
  assert.equal(
    llmsIndex("name", "What it is.", sections, "https://example.org/site/"),
    "# name\n\n> What it is.\n\n## Guides\n\n" +
      "- [A](https://example.org/site/guides/a.md): The first.\n" +
      "- [B](https://example.org/site/b.md): The second.\n",
  );
});

test("llms.txt has relative links where nobody knows where the site is", () => {
  assert.match(llmsIndex("name", "What it is.", sections), /\[A\]\(\.\/guides\/a\.md\)/);
});

test("llms-full.txt has every page whole", () => {
  assert.equal(
    llmsFull(sections),
    "<!-- guides/a.md -->\n\n# A\n\nThe first. More.\n\n<!-- b.md -->\n\n# B\n\nThe second.\n",
  );
});

const manifest = { name: "n", description: "d", version: "1.0.0" };

describe("the repository's address", () => {
  for (const repository of [
    "https://example.org/o/r",
    "git+https://example.org/o/r.git",
    { url: "git+https://example.org/o/r.git" },
  ]) {
    test(JSON.stringify(repository), () => {
      assert.equal(repositoryAddress({ ...manifest, repository }), "https://example.org/o/r");
    });
  }
});

describe("the site's address", () => {
  const repository = "https://example.org/o/r";
  for (const [homepage, expected] of [
    ["https://o.example.org/r", "https://o.example.org/r/"],
    ["https://o.example.org/r/#readme", "https://o.example.org/r/"],
    ["https://example.org/o/r#readme", undefined],
  ] as const) {
    test(homepage, () => assert.equal(siteAddress({ ...manifest, repository, homepage }), expected));
  }

  test("is unknown without a home page", () => assert.equal(siteAddress(manifest), undefined));
});
