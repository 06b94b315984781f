/** The package on every runtime and with every TypeScript that it is made for. */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { allRuntimes, fetchRuntime, oldestNode } from "../fetch.ts";
import type { Trial } from "./trials.ts";
import { example, fetchTools, installedProject, packedFile, project, run } from "./workspace.ts";

/** From the oldest that knows `Disposable` to the newest. */
const TYPESCRIPT_VERSIONS = ["5.2.2", "5.4.5", "5.6.3", "5.8.3", "5.9.3", "6.0.3", "7.0.2"];

/** The program of the runtime whose name begins so. */
export function programOf(name: string): string {
  const runtime = allRuntimes().find((one) => one.name.startsWith(name));
  assert.ok(runtime, `no runtime is called ${name}`);
  return fetchRuntime(runtime);
}

const plainFiles = {
  "main.js": example,
  "main.cjs": `console.log(typeof require("jit-allocator").JitAllocator);`,
};

const nodes: Trial = {
  name: "every Node, plain JavaScript, and by require()",
  run: async () => {
    const folder = installedProject("nodes", plainFiles);
    for (const runtime of allRuntimes().filter(({ name }) => name.startsWith("node "))) {
      const program = fetchRuntime(runtime);
      assert.equal(await run(folder, program, "main.js"), "5\n", runtime.name);
      assert.equal(await run(folder, program, "main.cjs"), "function\n", runtime.name);
    }
  },
};

const oldest: Trial = {
  // The tests themselves do not run there. The demo disposes by `Symbol.dispose`.
  name: `${oldestNode().name}, plain JavaScript and the demo`,
  run: async () => {
    const folder = installedProject("oldest", plainFiles);
    const program = fetchRuntime(oldestNode());
    assert.equal(await run(folder, program, "main.js"), "5\n");
    await run(folder, program, "node_modules/.bin/jit-allocator", "demo", "primes");
  },
};

/** Strict, with every declaration checked and without, under both resolutions. */
function typescript(version: string): Trial {
  return {
    name: `TypeScript ${version}, nodenext and bundler, with skipLibCheck and without`,
    run: async () => {
      const tools = await fetchTools(`typescript@${version}`);
      const folder = installedProject(`typescript-${version}`, { "main.ts": example });
      const resolutions = {
        nodenext: { module: "nodenext" },
        bundler: { module: "esnext", moduleResolution: "bundler" },
      };
      for (const [name, resolution] of Object.entries(resolutions)) {
        for (const skipLibCheck of [true, false]) {
          const compilerOptions = {
            strict: true,
            skipLibCheck,
            target: "es2022",
            types: [],
            outDir: "out",
            ...resolution,
          };
          writeFileSync(
            path.join(folder, "tsconfig.json"),
            JSON.stringify({ compilerOptions, files: ["main.ts"] }),
          );
          rmSync(path.join(folder, "out"), { recursive: true, force: true });
          await run(folder, process.execPath, path.join(tools, "typescript/bin/tsc"));
          assert.equal(await run(folder, process.execPath, "out/main.js"), "5\n", name);
        }
      }
    },
  };
}

const bun: Trial = {
  name: "Bun, installed by itself, with koffi and without",
  run: async () => {
    const folder = project("bun", { "package.json": { type: "module" }, "main.ts": example });
    const program = programOf("bun ");
    await run(folder, program, "add", "--silent", packedFile);
    assert.equal(await run(folder, program, "main.ts"), "5\n");
    rmSync(path.join(folder, "node_modules/koffi"), { recursive: true, force: true });
    assert.equal(await run(folder, program, "main.ts"), "5\n");
  },
};

const deno: Trial = {
  name: "Deno, checked, with --allow-ffi alone and without koffi, also as npm:jit-allocator",
  run: async () => {
    // Deno knows no packed files by itself, and finds what npm installed under both names.
    const folder = installedProject("deno", {
      "deno.json": { nodeModulesDir: "manual" },
      "main.ts": example,
      "npm.ts": example.replace(`from "jit-allocator"`, `from "npm:jit-allocator"`),
    });
    rmSync(path.join(folder, "node_modules/koffi"), { recursive: true });
    for (const script of ["main.ts", "npm.ts"]) {
      const flags = ["run", "--check", "--no-prompt", "--allow-ffi"];
      assert.equal(await run(folder, programOf("deno "), ...flags, script), "5\n");
    }
  },
};

const missing: Trial = {
  name: "without koffi's binary and without koffi, an error that says what to do",
  run: async () => {
    const folder = installedProject("missing", {
      "main.js": `import { JitAllocator } from "jit-allocator";
        try { new JitAllocator().alloc(1); } catch (error) { console.log(error.code, error.message); }`,
    });
    for (const part of ["@koromix", "koffi"]) {
      rmSync(path.join(folder, "node_modules", part), { recursive: true });
      const said = await run(folder, process.execPath, "main.js");
      assert.match(said, /^ERR_FEATURE_NOT_ENABLED Cannot load koffi, .*; .*install again/, part);
    }
  },
};

export const consumers: readonly Trial[] = [
  nodes,
  oldest,
  bun,
  deno,
  missing,
  ...TYPESCRIPT_VERSIONS.map(typescript),
];
