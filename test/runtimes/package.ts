/**
 * `npm run test:package`: what a stranger does with the package. It is packed, installed into empty projects, and the
 * first example of the README is compiled by several versions of TypeScript and run on every runtime.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { allRuntimes, fetchRuntime, npm, oldestNode } from "./fetch.ts";

/** From the oldest that is supported to the newest. */
const TYPESCRIPT_VERSIONS = ["5.8.3", "5.9.3", "6.0.3", "7.0.2"];

const root = path.resolve(import.meta.dirname, "../../..");
const workspace = mkdtempSync(path.join(tmpdir(), "jit-allocator-package-"));
process.on("exit", () => rmSync(workspace, { recursive: true, force: true }));

/** The code on README's first screen. */
function firstExample(): string {
  const readme = readFileSync(path.join(root, "README.md"), "utf8");
  const code = /^```ts\n(.*?)^```/ms.exec(readme)?.[1];
  assert.ok(code, "README.md has no first example");
  return code;
}

/** A new folder with these files. */
function project(name: string, files: Readonly<Record<string, string | object>>): string {
  const folder = path.join(workspace, name);
  mkdirSync(folder);
  for (const [file, content] of Object.entries(files)) {
    writeFileSync(path.join(folder, file), typeof content === "string" ? content : JSON.stringify(content));
  }
  return folder;
}

/** What the program prints; an error with all of it if it fails. */
function run(folder: string, program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: folder, encoding: "utf8" });
  if (error !== undefined) throw error;
  assert.equal(status, 0, `${program} ${args.join(" ")} failed:\n${stdout}${stderr}`);
  return stdout;
}

function passed(what: string): void {
  console.log(`ok  ${what}`);
}

const example = firstExample();
npm(["pack", "--ignore-scripts", "--pack-destination", workspace], root);
const packed = readdirSync(workspace).find((file) => file.endsWith(".tgz"));
assert.ok(packed);
const install = ["install", "--no-audit", "--no-fund", path.join(workspace, packed)];
const runtimes = allRuntimes();
const byName = (name: string): readonly { readonly name: string; readonly program: string }[] =>
  runtimes
    .filter((runtime) => runtime.name.startsWith(name))
    .map((runtime) => ({ name: runtime.name, program: fetchRuntime(runtime) }));

// Plain JavaScript, which the example is as well, on every Node.
const plain = project("plain", { "package.json": { type: "module" }, "main.js": example });
npm(install, plain);
writeFileSync(path.join(plain, "main.cjs"), `console.log(typeof require("jit-allocator").JitAllocator);`);
for (const { name, program } of byName("node ")) {
  assert.equal(run(plain, program, "main.js"), "5\n");
  assert.equal(run(plain, program, "main.cjs"), "function\n");
  passed(`${name}, plain JavaScript, and by require()`);
}

// The oldest Node, which the tests themselves do not run on. The demo disposes by `Symbol.dispose`.
const oldest = oldestNode();
const oldestProgram = fetchRuntime(oldest);
assert.equal(run(plain, oldestProgram, "main.js"), "5\n");
run(plain, oldestProgram, "node_modules/jit-allocator/dist/package/cli.js", "demo", "primes");
passed(`${oldest.name}, plain JavaScript and the demo`);

// TypeScript, strict and with every declaration checked, under both resolutions.
const settings = { strict: true, skipLibCheck: false, target: "es2022", types: [], outDir: "out" };
for (const version of TYPESCRIPT_VERSIONS) {
  const folder = project(`typescript-${version}`, {
    "package.json": { type: "module" },
    "main.ts": example,
    "nodenext.json": { compilerOptions: { ...settings, module: "nodenext" }, files: ["main.ts"] },
    "bundler.json": {
      compilerOptions: { ...settings, module: "esnext", moduleResolution: "bundler" },
      files: ["main.ts"],
    },
  });
  npm([...install, `typescript@${version}`], folder);
  for (const resolution of ["nodenext", "bundler"]) {
    rmSync(path.join(folder, "out"), { recursive: true, force: true });
    run(folder, process.execPath, "node_modules/typescript/bin/tsc", "-p", `${resolution}.json`);
    assert.equal(run(folder, process.execPath, "out/main.js"), "5\n");
    passed(`TypeScript ${version}, ${resolution}`);
  }
}

// Bun installs by itself, and runs TypeScript as it is.
for (const { name, program } of byName("bun ")) {
  const folder = project("bun", { "package.json": { type: "module" }, "main.ts": example });
  run(folder, program, "add", "--silent", path.join(workspace, packed));
  assert.equal(run(folder, program, "main.ts"), "5\n");
  rmSync(path.join(folder, "node_modules/koffi"), { recursive: true, force: true });
  assert.equal(run(folder, program, "main.ts"), "5\n");
  passed(`${name}, with koffi and without`);
}

// Deno finds what was installed, under both names; it knows no packed files by itself.
for (const { name, program } of byName("deno ")) {
  const folder = project("deno", {
    "package.json": { type: "module" },
    "deno.json": { nodeModulesDir: "manual" },
    "main.ts": example,
    "npm.ts": example.replace(`from "jit-allocator"`, `from "npm:jit-allocator"`),
  });
  npm(install, folder);
  rmSync(path.join(folder, "node_modules/koffi"), { recursive: true });
  for (const script of ["main.ts", "npm.ts"]) {
    assert.equal(run(folder, program, "run", "--check", "--no-prompt", "--allow-ffi", script), "5\n");
  }
  passed(`${name}, checked, with --allow-ffi alone and without koffi, also as npm:jit-allocator`);
}

// Without koffi's binary, and without koffi, the error says so.
const failing = `import { JitAllocator } from "jit-allocator";
try { new JitAllocator().alloc(1); } catch (error) { console.log(error.code, error.message); }`;
writeFileSync(path.join(plain, "failing.js"), failing);
for (const missing of ["@koromix", "koffi"]) {
  rmSync(path.join(plain, "node_modules", missing), { recursive: true });
  assert.match(
    run(plain, process.execPath, "failing.js"),
    /^ERR_FEATURE_NOT_ENABLED Cannot load koffi, .*; .*install again/,
  );
  passed(`without ${missing}: an error that says what to do`);
}
