/** What the documents say exists does exist: files, commands, options, error codes, invariants. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { JitAllocator } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { runCli } from "../support/cli.ts";

const root = path.resolve(import.meta.dirname, "../../..");

function readFromRoot(name: string): string {
  return readFileSync(path.join(root, name), "utf8");
}

const documentNames = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  ...readdirSync(path.join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file.replaceAll(path.sep, "/")}`),
];

/** All that a regular expression with one group captures, each once, in order. */
function captures(text: string, pattern: RegExp): readonly string[] {
  return [...new Set([...text.matchAll(pattern)].flatMap(([, captured]) => captured ?? []))].sort();
}

for (const name of documentNames) {
  describe(name, () => {
    const text = readFromRoot(name);

    test("its links lead to files and headings", () => {
      for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target)) continue;
        const [file = "", anchor] = target.split("#");
        const linked = file === "" ? name : path.posix.join(path.posix.dirname(name), file);
        assert.ok(existsSync(path.join(root, linked)), `${target} is not there`);
        if (anchor === undefined) continue;
        const anchors = [...readFromRoot(linked).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
          heading
            .toLowerCase()
            .replace(/[^\w\- ]/g, "")
            .replaceAll(" ", "-"),
        );
        assert.ok(anchors.includes(anchor), `${target}: no such heading`);
      }
    });

    test("its npm scripts exist", () => {
      const { scripts } = JSON.parse(readFromRoot("package.json")) as { scripts: Record<string, string> };
      for (const script of captures(text, /npm run ([\w:-]+)/g)) assert.ok(script in scripts, script);
    });

    test("the compiled programs and the tests that its commands name exist", () => {
      for (const program of captures(text, /node (dist\/[\w/.-]+\.js)/g)) {
        assert.ok(existsSync(path.join(root, program)), program);
      }
      const tests = readdirSync(path.join(root, "dist/test"), { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".test.js"))
        .map((file) => file.replaceAll(path.sep, "/"));
      for (const word of captures(text, /node dist\/test\/run\.js ([\w/.-]+)/g)) {
        if (word === "area") continue; // CONTRIBUTING's example of a word
        assert.ok(
          tests.some((file) => file.includes(word)),
          `no test file contains ${word}`,
        );
      }
    });
  });
}

describe("the pages that list things", () => {
  test("explains every error code, and no other", () => {
    const known = captures(readFromRoot("src/base/errors.ts"), /\| "(ERR_\w+)"/g);
    assert.ok(known.length > 5);
    assert.deepEqual(captures(readFromRoot("docs/errors.md"), /^\| `(ERR_\w+)`/gm), known);
  });

  test("lists every option with its default", () => {
    const { options } = new JitAllocator({ fillPattern: 0xcccc_cccc }, new SimulatedMemory());
    const rows = [...readFromRoot("docs/options.md").matchAll(/^\| `(\w+)` +\| `([^`]+)`/gm)];
    assert.deepEqual(
      Object.fromEntries(
        rows.map(([, name = "", value = ""]) => [name, JSON.parse(numeral(value)) as unknown]),
      ),
      // `near` has no default, and JSON no word for that.
      { ...options, near: null },
    );
  });

  test("lists every command", () => {
    const commands = captures(runCli(["--help"]).stdout, /^ {2}(\w+) {2,}/gm);
    assert.ok(commands.includes("demo"));
    assert.deepEqual(captures(readFromRoot("docs/command-line.md"), /^\| `jit-allocator (\w+)/gm), commands);
  });
});

/** `0xCCCCCCCC` in decimal; anything else as it is. */
function numeral(text: string): string {
  return text.startsWith("0x") ? String(Number(text)) : text;
}

test("docs/invariants.md explains every invariant that verify() checks, and no other", () => {
  const sources = readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFromRoot(`src/${file}`));
  const checked = [
    ...captures(readFromRoot("src/core/verify.ts"), /,\s*(\d+),\s*["`]/g),
    ...captures(readFromRoot("src/core/lookup.ts"), /broken\((\d+), `the look-up/g),
    ...sources.flatMap((text) => captures(text, /invariant (\d+) is broken/g)),
    ...captures(readFromRoot("src/sharing/ledgers.ts"), /check\([^;]*?,\s*(\d+),\s*["`]/g),
  ];
  assert.ok(checked.length > 10);
  // What is asserted along the way rests on one of these; 0 is what a function has just made sure of itself.
  // So does what a walk finds broken.
  const asserted = sources.flatMap((text) => [
    ...captures(text, /\bassert\([^;]*?,\s*(\d+),\s*["`]/g),
    ...captures(text, /\bbroken\((\d+),\s*["`]/g),
  ]);
  assert.ok(asserted.length > 5);
  for (const invariant of asserted) assert.ok(invariant === "0" || checked.includes(invariant), invariant);
  assert.deepEqual(
    captures(readFromRoot("docs/invariants.md"), /^## (\d+)\. /gm),
    [...new Set(checked)].sort(),
  );
});
