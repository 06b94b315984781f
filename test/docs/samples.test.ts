/** Every code sample of the documents and docstrings: type-checked under our own settings, run, and its results read. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, describe, test } from "node:test";
import { needs } from "../support/requirements.ts";
import { samplesOfDocstrings, samplesOfDocument } from "../support/samples.ts";

const root = path.resolve(import.meta.dirname, "../../..");

function readFromRoot(name: string): string {
  return readFileSync(path.join(root, name), "utf8");
}

function filesUnder(folder: string, ending: string): readonly string[] {
  return readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending))
    .map((file) => `${folder}/${file.split(path.sep).join("/")}`)
    .sort();
}

const documentSamples = ["README.md", ...filesUnder("docs", ".md")].flatMap((name) =>
  samplesOfDocument(name, readFromRoot(name)),
);
const docstringSamples = filesUnder("src", ".ts").flatMap((name) =>
  samplesOfDocstrings(name, readFromRoot(name)),
);
const samples = [...documentSamples, ...docstringSamples];

// Below the package's own folder, so that `jit-allocator` and the types of Node are found as everywhere in it.
const workspace = mkdtempSync(path.join(root, "dist/samples-"));
after(() => rmSync(workspace, { recursive: true, force: true }));

samples.forEach(({ module }, index) => writeFileSync(path.join(workspace, `sample-${index}.ts`), module));
writeFileSync(
  path.join(workspace, "tsconfig.json"),
  JSON.stringify({
    extends: "../../tsconfig.json",
    compilerOptions: {
      rootDir: ".",
      outDir: ".",
      // A sample shows how a value is made, not always what becomes of it.
      noUnusedLocals: false,
    },
    // @defasm/core ships no types; the page on assemblers says where those of the examples are.
    include: ["*.ts", "../../examples/defasm-core.d.ts"],
    // What is compiled lies where its output goes, and that is left out unless told otherwise.
    exclude: [],
  }),
);

function runNode(args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  // Neither the compiler nor a sample counts as a test of what it calls. Empty, not absent: what is absent is inherited.
  const environment = { ...process.env, NODE_V8_COVERAGE: "" };
  return spawnSync(process.execPath, args, { cwd: workspace, encoding: "utf8", env: environment });
}

const compilation = runNode([path.join(root, "node_modules/typescript/bin/tsc"), "-p", "."]);

test("there are samples in the README and in the docstrings", () => {
  assert.ok(documentSamples.some(({ place }) => place.startsWith("README.md:")));
  assert.ok(docstringSamples.length > 10, `${docstringSamples.length} were found`);
  assert.ok(samples.some(({ output }) => output !== ""));
});

test("every sample compiles under the strictest settings", () => {
  const report = compilation.stdout.replace(
    /sample-(\d+)\.ts/g,
    (name: string, index: string) => `${samples[Number(index)]?.place ?? ""} (${name})`,
  );
  assert.equal(compilation.status, 0, report);
});

// What the samples write into memory is x86-64 code.
const skip = needs("systemV");

describe("every sample runs, and comes to what it says", { skip }, () => {
  for (const [index, { place, output }] of samples.entries()) {
    test(place, () => {
      const { status, stdout, stderr } = runNode([path.join(workspace, `sample-${index}.js`)]);
      assert.equal(status, 0, stderr);
      assert.equal(stdout, output);
    });
  }
});

test("the README's first sample is examples/add.ts, word for word", () => {
  const [, first] = /```ts\n([\s\S]*?)```/.exec(readFromRoot("README.md")) ?? [];
  assert.equal(first, readFromRoot("examples/add.ts"));
});
