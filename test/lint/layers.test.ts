import assert from "node:assert/strict";
import path from "node:path";
import { describe, test } from "node:test";
import { ESLint, type Linter } from "eslint";
import tseslint from "typescript-eslint";

const root = path.resolve(import.meta.dirname, "../../..");

/** What needs a whole program is left out, since a snippet belongs to none; and so is what snippets never use. */
const forSnippets = {
  ...tseslint.configs.disableTypeChecked,
  rules: { ...tseslint.configs.disableTypeChecked.rules, "@typescript-eslint/no-unused-vars": "off" },
} as Linter.Config;

/** ESLint with the project's own configuration. */
const eslint = new ESLint({ cwd: root, overrideConfig: forSnippets });

/** The rules that `code` would break as the file `filePath`. */
async function broken(filePath: string, code: string): Promise<string[]> {
  const [result] = await eslint.lintText(code, { filePath: path.join(root, filePath) });
  assert.ok(result, `${filePath} is ignored`);
  for (const message of result.messages) {
    assert.notEqual(message.ruleId, null, `${filePath} does not parse: ${message.message}`);
  }
  return [...new Set(result.messages.map((message) => message.ruleId ?? ""))];
}

const imports = "layers/imports";
const globals = "no-restricted-globals";
const properties = "no-restricted-properties";
const moduleNames = "no-restricted-imports";

const forbidden: readonly (readonly [file: string, code: string, rule: string])[] = [
  // core/ imports nothing but itself and the assertions, in whatever form
  ["src/core/area.ts", `import { JitError } from "../base/errors.ts"; export const a = JitError;`, imports],
  [
    "src/core/area.ts",
    `import type { Address } from "../ffi/contract.ts"; export type A = Address;`,
    imports,
  ],
  ["src/core/area.ts", `import { lock } from "./../sharing/lock.ts"; export const a = lock;`, imports],
  ["src/core/area.ts", `import "node:fs";`, imports],
  ["src/core/area.ts", `import "fs";`, imports],
  ["src/core/area.ts", `export * from "../base/errors.ts";`, imports],
  ["src/core/area.ts", `export { JitError } from "../base/errors.ts";`, imports],
  ["src/core/area.ts", `export const a = import("../base/errors.ts");`, imports],
  ["src/core/area.ts", `export type A = import("../base/errors.ts").JitError;`, imports],
  ["src/core/area.ts", `const name = "./bits.ts"; export const a = import(name);`, imports],
  ["src/core/deep/area.ts", `export * from "../../base/errors.ts";`, imports],
  // what is published is the entry and the command
  ["package/index.ts", `export * from "../src/core/bits.ts";`, imports],
  // core/ has no clock, no system and no randomness
  ["src/core/area.ts", `export const a = Date.now();`, globals],
  ["src/core/area.ts", `export const a = new Date();`, globals],
  ["src/core/area.ts", `export const a = performance.now();`, globals],
  ["src/core/area.ts", `export const a = process.pid;`, globals],
  ["src/core/area.ts", `export const a = globalThis.process;`, globals],
  ["src/core/area.ts", `setTimeout(() => undefined, 1);`, globals],
  ["src/core/area.ts", `console.log("here");`, globals],
  ["src/core/area.ts", `export const a = Math.random();`, properties],
  ["src/core/area.ts", `const { random } = Math; export const a = random();`, properties],
  // base/ imports from no other room
  ["src/base/errors.ts", `export * from "../core/layout.ts";`, imports],
  ["src/base/stack.ts", `export * from "../ffi/contract.ts";`, imports],
  ["src/base/platform.ts", `import "node:os";`, imports],
  // every file is in a room
  ["src/area.ts", `export * from "./cli/main.ts";`, imports],
  ["src/attic/area.ts", `export * from "../base/errors.ts";`, imports],
  // sharing/ stands on the engine, and knows no system
  ["src/sharing/lock.ts", `export * from "../api/allocator.ts";`, imports],
  ["src/sharing/lock.ts", `export * from "../vm/linux.ts";`, imports],
  ["src/sharing/lock.ts", `import "node:worker_threads";`, imports],
  // engine/ knows no threads, and of what is below the contracts alone
  ["src/engine/engine.ts", `export * from "../sharing/lock.ts";`, imports],
  ["src/engine/engine.ts", `export * from "../vm/select.ts";`, imports],
  ["src/engine/engine.ts", `export * from "../ffi/select.ts";`, imports],
  // what is imported is loaded at the start of a program
  ["src/vm/linux.ts", `import "node:fs";`, imports],
  // ffi/ knows base/
  ["src/ffi/koffi.ts", `export * from "../vm/contract.ts";`, imports],
  ["src/ffi/koffi.ts", `export * from "../core/layout.ts";`, imports],
  ["src/ffi/select.ts", `import "node:fs";`, imports],
  ["src/ffi/select.ts", `export * from "../api/allocator.ts";`, imports],
  ["src/ffi/deno.ts", `import "bun:ffi";`, imports],
  // vm/ knows ffi/ and base/
  ["src/vm/linux.ts", `export * from "../core/layout.ts";`, imports],
  ["src/vm/linux.ts", `export * from "../engine/span.ts";`, imports],
  ["src/vm/linux.ts", `import "node:child_process";`, imports],
  // api/ and the entry know no command, no example and no node:*
  ["src/api/allocator.ts", `export * from "../cli/main.ts";`, imports],
  ["src/index.ts", `export * from "../examples/brainf/jit.ts";`, imports],
  ["src/api/runtime.ts", `import "node:fs";`, imports],
  // cli/ is a user of the public entry
  ["src/cli/replay.ts", `export * from "../api/allocator.ts";`, imports],
  ["src/cli/replay.ts", `export * from "../core/layout.ts";`, imports],
  ["src/cli/doctor.ts", `export * from "../vm/linux.ts";`, imports],
  ["src/cli/demo.ts", `export * from "../../examples/add.ts";`, imports],
  // and what is loaded on demand is held to the table as well
  ["src/ffi/bun.ts", `import { requireModule } from "./require.ts"; requireModule("node:fs");`, imports],
  ["src/sharing/lock.ts", `import { builtin } from "../base/builtins.ts"; builtin("node:fs");`, imports],
  // koffi has one door
  ["src/vm/linux.ts", `import koffi from "koffi"; export const a = koffi;`, imports],
  ["src/ffi/select.ts", `import koffi from "koffi"; export const a = koffi;`, imports],
  ["src/ffi/koffi.ts", `import koffi from "koffi"; export const a = koffi;`, imports],
  ["src/cli/doctor.ts", `export const a = ["koffi"];`, imports],
  ["src/cli/doctor.ts", `export const a = import("koffi/package.json");`, imports],
  // one reader of the platform and of the runtime
  ["src/vm/linux.ts", `export const a = process.platform;`, properties],
  ["src/vm/linux.ts", `export const a = process.arch;`, properties],
  ["src/cli/doctor.ts", `export const a = process.versions;`, properties],
  ["src/cli/doctor.ts", `const { version } = process; export const a = version;`, properties],
  ["src/vm/linux.ts", `import { platform } from "node:os"; export const a = platform();`, moduleNames],
  ["src/cli/doctor.ts", `import process from "node:process"; export const a = process.arch;`, moduleNames],
  ["src/vm/select.ts", `export const a = typeof Deno;`, globals],
  ["src/api/allocator.ts", `export const a = globalThis.Bun;`, globals],
  // examples import what a user imports
  ["examples/add.ts", `export * from "../src/index.ts";`, imports],
  ["examples/add.ts", `import koffi from "koffi"; export const a = koffi;`, imports],
  // house style
  ["src/engine/span.ts", `export const a = 1 as unknown as string;`, "no-restricted-syntax"],
  ["src/engine/span.ts", `export const a: any = 1;`, "@typescript-eslint/no-explicit-any"],
  ["src/engine/span.ts", "export const a = 1;\n".repeat(401), "max-lines"],
  [
    "src/engine/span.ts",
    `export const a = (b: number[]) => b[0]!;`,
    "@typescript-eslint/no-non-null-assertion",
  ],
];

const allowed: readonly (readonly [file: string, code: string])[] = [
  ["src/core/area.ts", `import { scan } from "./bits.ts"; export const a = scan;`],
  ["src/core/area.ts", `import { assert } from "../base/assert.ts"; assert(true, 1, "");`],
  ["src/core/deep/area.ts", `export * from "../bits.ts";`],
  ["src/core/area.ts", `export const a = (b: Uint32Array) => b[0]! + Math.clz32(1);`],
  ["src/core/area.ts", `export const a = new Int32Array(new SharedArrayBuffer(8));`],
  [
    "src/base/platform.ts",
    `export const a = [process.platform, process.arch, process.versions, typeof Deno];`,
  ],
  [
    "src/ffi/koffi-module.ts",
    `import koffi from "koffi"; export * from "../base/errors.ts"; export const a = koffi;`,
  ],
  ["src/ffi/koffi.ts", `import { createRequire } from "node:module"; export const a = createRequire;`],
  ["src/ffi/bun.ts", `import { dlopen } from "bun:ffi"; export const a = dlopen;`],
  ["src/ffi/deno.ts", `export const a = Deno;`],
  ["src/ffi/select.ts", `export * from "./koffi.ts"; export * from "../base/platform.ts";`],
  [
    "src/vm/linux.ts",
    `import { builtin } from "../base/builtins.ts"; export const a = builtin("node:os").tmpdir();`,
  ],
  ["src/vm/linux.ts", `export * from "../ffi/contract.ts"; export * from "../base/errors.ts";`],
  ["src/sharing/area.ts", `export * from "../core/area.ts"; export * from "../engine/engine.ts";`],
  ["src/api/allocator.ts", `export * from "../vm/select.ts"; export * from "../ffi/select.ts";`],
  ["src/index.ts", `export { JitError } from "./base/errors.ts"; export * from "./engine/span.ts";`],
  ["package/index.ts", `export * from "../src/index.ts"; import "../src/cli/main.ts";`],
  ["src/cli/replay.ts", `export * from "../index.ts"; import "node:zlib"; export * from "./command.ts";`],
  ["src/cli/demo.ts", `export * from "../../examples/brainf/jit.ts";`],
  ["src/cli/doctor.ts", `export * from "../vm/select.ts"; export * from "../base/platform.ts";`],
  ["examples/add.ts", `import "jit-allocator"; import "@defasm/core"; import "node:child_process";`],
  ["test/allocator.test.ts", `export * from "../src/core/area.ts"; export const a = process.platform;`],
];

describe("each boundary of the architecture is a lint error", () => {
  for (const [file, code, rule] of forbidden) {
    const shown = code.length > 90 ? `${code.length} characters` : code;
    test(`${file}: ${shown}`, async () => {
      const rules = await broken(file, code);
      assert.ok(rules.includes(rule), `expected ${rule}, found ${rules.join(", ") || "nothing"}`);
    });
  }
});

describe("what the architecture allows passes", () => {
  for (const [file, code] of allowed) {
    test(`${file}: ${code}`, async () => assert.deepEqual(await broken(file, code), []));
  }
});
