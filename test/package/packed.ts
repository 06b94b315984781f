/** What a stranger gets: the package is packed, looked into, compiled against and run. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { filterProblems } from "@arethetypeswrong/core/problems";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { needs } from "../support/requirements.ts";

const root = path.resolve(import.meta.dirname, "../../..");
const workspace = mkdtempSync(path.join(tmpdir(), "jit-allocator-package-"));
after(() => rmSync(workspace, { recursive: true, force: true }));

/** Runs a program of its own, without this process's coverage: that of npm and tsc says nothing about us. */
function run(script: string, args: readonly string[], cwd: string): string {
  const environment = { ...process.env, NODE_V8_COVERAGE: "" }; // empty, not absent: what is absent is inherited
  return execFileSync(process.execPath, [script, ...args], {
    cwd,
    encoding: "utf8",
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** The program of npm: the one that runs this test, or the one that came with Node. */
function npmProgram(): string {
  return (
    process.env["npm_execpath"] ?? path.resolve(process.execPath, "../../lib/node_modules/npm/bin/npm-cli.js")
  );
}

interface PackReport {
  readonly filename: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}

// The build has been made (this file is part of it). What a release adds to it is made elsewhere: the other tests run
// from `dist/`.
const stage = path.join(workspace, "stage");
for (const part of ["package.json", "README.md", "LICENSE", "CHANGELOG.md", "examples/brainf/programs"]) {
  cpSync(path.join(root, part), path.join(stage, part), { recursive: true });
}
run(path.join(root, "scripts/bundle.js"), [path.join(stage, "dist/package")], root);
const [report] = JSON.parse(
  run(npmProgram(), ["pack", "--ignore-scripts", "--json", "--pack-destination", workspace], stage),
) as PackReport[];
assert.ok(report);
const { filename, files, size } = report;
const packed = files.map((file) => file.path);
const tarball = new Uint8Array(readFileSync(path.join(workspace, filename)));

// Installed by hand, which needs no network: the packed files, and links to the dependencies they may use.
const installed = path.join(workspace, "node_modules/jit-allocator");
for (const file of packed) {
  mkdirSync(path.dirname(path.join(installed, file)), { recursive: true });
  cpSync(path.join(stage, file), path.join(installed, file));
}

describe("the packed package", () => {
  test("holds what it needs and nothing that is ours alone", () => {
    for (const needed of [
      "package.json",
      "README.md",
      "LICENSE",
      "dist/package/index.js",
      "dist/package/index.d.ts",
      "dist/package/cli.js",
      "dist/package/heap-map.js",
      "dist/package/heap-map.d.ts",
    ]) {
      assert.ok(packed.includes(needed), `${needed} is missing`);
    }
    assert.ok(
      packed.some((file) => /^examples\/brainf\/programs\/.*\.bf$/.test(file)),
      "the demo's programs are missing",
    );
    const strange = packed.filter((file) =>
      /(^|\/)(src|test|bench|fuzz|coverage|scripts)\/|\.tgz$/.test(file),
    );
    assert.deepEqual(strange, []);
  });

  test("is as small as it was meant to be", () => {
    assert.ok(files.length <= 60, `${files.length} files`);
    assert.ok(size <= 500_000, `${size} bytes`);
  });

  test("leads from each line of the library to the source, which the maps hold but for its documentation", () => {
    for (const file of ["index", "iced", "capstone"].map((name) => `dist/package/${name}.js`)) {
      const { sources, sourcesContent } = JSON.parse(
        readFileSync(path.join(installed, `${file}.map`), "utf8"),
      ) as { readonly sources: readonly string[]; readonly sourcesContent: readonly string[] };
      assert.ok(sources.length > 0, file);
      for (const [index, source] of sources.entries()) {
        const original = path.join(stage, path.dirname(file), source).replace(stage, root);
        const held = (sourcesContent[index] ?? "").split("\n");
        const lines = readFileSync(original, "utf8").split("\n");
        assert.equal(held.length, lines.length, `${file}: ${source}`);
        for (const [number, line] of lines.entries()) {
          // The lines of a comment begin with an asterisk, but for what is a multiplication.
          const isDocumentation = /^ *(?:\/\*\*|\*)/.test(line) && held[number] === "";
          if (!isDocumentation) assert.equal(held[number], line, `${file}: ${source}:${number + 1}`);
        }
      }
    }
  });

  test("names functions and lines of the sources in a stack trace", () => {
    // Whatever is wrong first: what was installed here has no koffi.
    const program = "import { JitAllocator } from 'jit-allocator'; new JitAllocator().alloc(-1);";
    writeFileSync(path.join(workspace, "traced.mjs"), program);
    const { stderr } = spawnSync(process.execPath, ["--enable-source-maps", "traced.mjs"], {
      cwd: workspace,
      encoding: "utf8",
    });
    const frame = /^ +at \w+ \(.*\/(src\/[\w/-]+\.ts):(\d+):\d+\)$/m.exec(stderr);
    const [, file = "", line] = frame ?? [];
    const lines = readFileSync(path.join(root, file), "utf8").split("\n");
    assert.match(lines[Number(line) - 1] ?? "", /new JitError\(/, stderr);
  });

  test("has no assertion left, which is for those who change the library", () => {
    for (const file of packed.filter((name) => name.endsWith(".js"))) {
      assert.doesNotMatch(readFileSync(path.join(installed, file), "utf8"), /^\s*assert(\$\d+)?\(/m, file);
    }
  });

  test("links to nothing that its repository does not have", () => {
    for (const document of packed.filter((file) => file.endsWith(".md"))) {
      const text = readFileSync(path.join(root, document), "utf8");
      for (const [, target = ""] of text.matchAll(/\]\(([^)\s#]+)[^)\s]*\)/g)) {
        if (/^https?:/.test(target)) continue;
        const linked = path.posix.join(path.posix.dirname(document), target);
        // npm's site resolves a link by the field `repository`.
        assert.ok(existsSync(path.join(root, linked)), `${document} links to ${target}`);
      }
    }
  });

  test("has no fault that publint knows", async () => {
    const { messages, pkg } = await publint({ pack: { tarball: tarball.buffer }, strict: true });
    assert.ok(pkg);
    assert.deepEqual(
      messages.map((message) => formatMessage(message, pkg, { color: false })),
      [],
    );
  });

  test("resolves to the right types for every ESM consumer", async () => {
    const analysis = await checkPackage(createPackageFromTarballData(tarball));
    assert.ok(analysis.types, "the package has no types");
    // The two resolutions that an ESM-only package has no answer for are not asked: node10 and require().
    const problems = (["node16-esm", "bundler"] as const).flatMap((resolutionKind) =>
      filterProblems(analysis, { resolutionKind }),
    );
    assert.deepEqual(problems, []);
  });
});

describe("a program that uses the package", () => {
  const source = `
    import { JitAllocator, JitError, toFunction } from "jit-allocator";
    const allocator = new JitAllocator();
    const span = allocator.alloc(64);
    const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
    export const sum: () => number = () => add(2, 3);
    // @ts-expect-error the second argument is missing
    export const wrong = () => add(2);
    export const isOurs = (error: unknown): error is JitError => error instanceof JitError;
    span.release();
    allocator.dispose();
  `;
  writeFileSync(path.join(workspace, "package.json"), JSON.stringify({ type: "module" }));
  writeFileSync(path.join(workspace, "consumer.ts"), source);

  // From the newest settings to the humblest: no Disposable in the library, no types of Node.
  for (const [module, library] of [
    ["nodenext", "esnext"],
    ["nodenext", "es2022"],
    ["preserve", "es2022"],
  ] as const) {
    test(`compiles under strict settings with module ${module} and the library of ${library}`, () => {
      const compilerOptions = {
        noEmit: true,
        strict: true,
        skipLibCheck: false,
        types: [],
        target: "es2022",
        module,
        lib: [library],
      };
      const settings = path.join(workspace, `tsconfig.${module}-${library}.json`);
      writeFileSync(settings, JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
      try {
        run(path.join(root, "node_modules/typescript/bin/tsc"), ["-p", settings], workspace);
      } catch (error) {
        assert.fail((error as { stdout: string }).stdout);
      }
    });
  }

  test("loads, and its command answers", { skip: needs("links") }, () => {
    for (const dependency of ["koffi", "@koromix"]) {
      symlinkSync(
        path.join(root, "node_modules", dependency),
        path.join(workspace, "node_modules", dependency),
        "junction",
      );
    }
    writeFileSync(
      path.join(workspace, "main.js"),
      `console.log(typeof (await import("jit-allocator")).JitError);`,
    );
    assert.equal(run("main.js", [], workspace), "function\n");
    const manifest = JSON.parse(readFileSync(path.join(installed, "package.json"), "utf8")) as {
      readonly bin: Readonly<Record<string, string>>;
    };
    const command = path.join(installed, manifest.bin["jit-allocator"] ?? "");
    assert.match(run(command, ["--help"], workspace), /jit-allocator/);
  });
});

describe("the lock file", () => {
  interface LockedPackage {
    readonly version?: string;
    readonly integrity?: string;
    readonly dependencies?: Readonly<Record<string, string>>;
    readonly optionalDependencies?: Readonly<Record<string, string>>;
  }
  const text = readFileSync(path.join(root, "package-lock.json"), "utf8");
  const { packages } = JSON.parse(text) as { readonly packages: Readonly<Record<string, LockedPackage>> };
  const locked = Object.entries(packages).filter(([place]) => place !== "");

  test("names versions and checksums, and no address to download from", () => {
    assert.doesNotMatch(text, /"resolved": "http/);
    for (const [place, { version, integrity }] of locked) assert.ok(version && integrity, place);
  });

  test("is whole: builds for other systems are named too, else `npm ci` of npm 11 refuses it", () => {
    const names = new Set(locked.map(([place]) => place.split("node_modules/").at(-1)));
    const missing = locked.flatMap(([place, { dependencies, optionalDependencies }]) =>
      Object.keys({ ...dependencies, ...optionalDependencies })
        .filter((name) => !names.has(name))
        .map((name) => `${place} needs ${name}`),
    );
    assert.deepEqual(missing, []);
  });
});
