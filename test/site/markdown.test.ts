/** What the site makes of a document's text. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { anchorOf, firstSentence, introduction, rewriteLinks, titleOf } from "../../site/markdown.ts";

/** A repository of three files: one is a page of the site, one an asset, one neither. */
const places = new Map([
  ["docs/threads.md", "threads.md"],
  ["docs/charts/soak.svg", "charts/soak.svg"],
  ["examples/add.ts", "https://example.org/blob/HEAD/examples/add.ts"],
]);

function rewritten(markdown: string): string {
  return rewriteLinks(markdown, "docs/guides/workers.md", "guides/workers.md", (target) =>
    places.get(target),
  );
}

describe("rewriteLinks", () => {
  const cases: Readonly<Record<string, readonly [string, string]>> = {
    "a page, relative to the page it is on": ["[a](../threads.md)", "[a](../threads.md)"],
    "an anchor of a page": ["[a](../threads.md#limits)", "[a](../threads.md#limits)"],
    "an image": ["![a](../charts/soak.svg)", "![a](../charts/soak.svg)"],
    "a file that is no page": [
      "[a](../../examples/add.ts)",
      "[a](https://example.org/blob/HEAD/examples/add.ts)",
    ],
    "an anchor of the same page": ["[a](#here)", "[a](#here)"],
    "another site": ["[a](https://example.com/x.md)", "[a](https://example.com/x.md)"],
    "two in a line": [
      "[a](../threads.md), [b](../../examples/add.ts)",
      "[a](../threads.md), [b](https://example.org/blob/HEAD/examples/add.ts)",
    ],
    "code in a line": [
      "`f[0](nowhere.md)` and ``a`[0](nowhere.md)``",
      "`f[0](nowhere.md)` and ``a`[0](nowhere.md)``",
    ],
    "a block of code": ["```ts\ntable[0](nowhere);\n```", "```ts\ntable[0](nowhere);\n```"],
    "a link after code": [
      "`code` [a](../../examples/add.ts)",
      "`code` [a](https://example.org/blob/HEAD/examples/add.ts)",
    ],
  };
  for (const [title, [markdown, expected]] of Object.entries(cases)) {
    test(title, () => assert.equal(rewritten(markdown), expected));
  }

  test("moves with the page", () => {
    const text = rewriteLinks("[a](docs/threads.md)", "README.md", "index.md", (target) =>
      places.get(target),
    );
    assert.equal(text, "[a](./threads.md)");
  });

  test("refuses a link that leads nowhere, and names it", () => {
    assert.throws(
      () => rewritten("[a](../gone.md#x)"),
      /docs\/guides\/workers\.md links to \.\.\/gone\.md#x/,
    );
  });
});

describe("titleOf", () => {
  test("is the first heading, without marks", () => {
    assert.equal(titleOf("a.md", "words\n\n# What `doctor` says\n\n# Another"), "What doctor says");
  });

  test("refuses a document without one", () => {
    assert.throws(() => titleOf("docs/a.md", "## Second\n"), /docs\/a\.md has no heading/);
  });
});

describe("firstSentence", () => {
  const cases: Readonly<Record<string, readonly [string, string]>> = {
    "ends at a full stop": ["Makes it. Then more.", "Makes it."],
    "does not end inside a number or a name": [
      "Takes 0.1 µs on node.js here. More.",
      "Takes 0.1 µs on node.js here.",
    ],
    "takes a paragraph without one whole": ["Makes it\nall", "Makes it all"],
    "skips headings, tables and code": ["# Title\n\n| a |\n\n```sh\nx\n```\n\nThe text. More.", "The text."],
    "has the words of links": ["See [the page](a.md#b). More.", "See the page."],
    "makes an announcement a sentence": ["It does this:\n\n- a", "It does this."],
    "is empty where there is no text": ["# Title", ""],
  };
  for (const [title, [markdown, expected]] of Object.entries(cases)) {
    test(title, () => assert.equal(firstSentence(markdown), expected));
  }
});

describe("anchorOf", () => {
  for (const [heading, anchor] of [
    ["Calling something else", "calling-something-else"],
    ["1. The bits, and `stop`", "1-the-bits-and-stop"],
    ["Windows: a `VirtualAlloc2`", "windows-a-virtualalloc2"],
    ["blockSize?", "blocksize"],
    ["[toStringTag]", "tostringtag"],
    ["Größe", "größe"],
  ] as const) {
    test(heading, () => assert.equal(anchorOf(heading), anchor));
  }
});

describe("introduction", () => {
  const readme =
    "# name\n\nWords [fast](#how-fast).\n\n```sh\nnpm i\n```\n\n```ts\nf();\n```\n\n## How fast\n\nVery.\n";

  test("is what comes before the first section, without the title", () => {
    const text = introduction(readme);
    assert.ok(text.startsWith("Words "));
    assert.ok(text.endsWith("f();\n```"));
  });

  test("sends the reader to the README for a later section", () => {
    assert.match(introduction(readme), /\[fast\]\(README\.md#how-fast\)/);
  });

  for (const language of ["sh", "ts"]) {
    test(`refuses a README that shows no ${language} at its beginning`, () => {
      assert.throws(
        () => introduction(readme.replace(`\`\`\`${language}`, "```text")),
        /README\.md shows no/,
      );
    });
  }
});
