import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";
import { layerRule } from "./scripts/layers.js";

/** The globals of one runtime; only the files made for that runtime may use them. */
const runtimeGlobals = ["Bun", "Deno"].map((name) => ({
  name,
  message: "Only platform.ts and ffi/ know the runtimes.",
}));

/** What makes a program depend on where or when it runs. */
const impureGlobals = [
  "Buffer",
  "Date",
  "clearInterval",
  "clearTimeout",
  "console",
  "crypto",
  "fetch",
  "navigator",
  "performance",
  "process",
  "queueMicrotask",
  "setImmediate",
  "setInterval",
  "setTimeout",
].map((name) => ({ name, message: "core/ is pure: no clock, no system, no randomness." }));

const platformMessage = "Only platform.ts looks at where the program runs; import { platform } from it.";
const platformProperties = ["platform", "arch", "version", "versions", "release"].map((property) => ({
  object: "process",
  property,
  message: platformMessage,
}));
const platformImports = [
  { name: "node:process", message: platformMessage },
  { name: "node:os", importNames: ["arch", "machine", "platform", "type"], message: platformMessage },
];

export default defineConfig(
  globalIgnores(["dist/", "coverage/", ".cache/"]),
  { linterOptions: { reportUnusedDisableDirectives: "error" } },

  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      eqeqeq: "error",
      // Says at a glance what is loaded at run time.
      "@typescript-eslint/consistent-type-imports": "error",
      // A number has one obvious text; what this rule guards against is an object or undefined in a message.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // `() => call()` is the shortest way to hand over a call; its result is not used by mistake.
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      // `while (true)` says what it is.
      "@typescript-eslint/no-unnecessary-condition": [
        "error",
        { allowConstantLoopConditions: "only-allowed-literals" },
      ],
      // Overloads whose parameters bear different names document different uses.
      "@typescript-eslint/unified-signatures": ["error", { ignoreDifferentlyNamedParameters: true }],
      // The runner of node:test awaits what these return.
      "@typescript-eslint/no-floating-promises": [
        "error",
        {
          allowForKnownSafeCalls: [
            { from: "package", package: "node:test", name: ["test", "describe", "it", "suite"] },
          ],
        },
      ],
      // A callback may return a number or nothing at all, and `void` is what its author writes for nothing.
      "@typescript-eslint/no-invalid-void-type": "off",
      // A leading underscore marks a parameter that a contract asks for and this implementation does not need.
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", caughtErrors: "all" }],
      "no-restricted-syntax": [
        "error",
        { selector: "TSAsExpression > TSAsExpression", message: "A double cast hides a type error." },
      ],
    },
  },
  // Configuration and scripts are plain JavaScript outside the TypeScript project.
  { files: ["**/*.js"], ...tseslint.configs.disableTypeChecked },
  { files: ["**/*.js"], languageOptions: { globals: { console: "readonly", process: "readonly" } } },

  // The layers of docs/architecture.md.
  {
    files: ["src/**/*.ts", "package/**/*.ts", "examples/**/*.ts"],
    plugins: { layers: { rules: { imports: layerRule } } },
    rules: { "layers/imports": "error" },
  },
  {
    files: ["src/**/*.ts"],
    rules: {
      "no-restricted-globals": ["error", { globals: runtimeGlobals, checkGlobalObject: true }],
      "no-restricted-properties": ["error", ...platformProperties],
      "no-restricted-imports": ["error", { paths: platformImports }],
      // A room with one job is small; docstrings and blank lines do not count.
      "max-lines": ["error", { max: 400, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    files: ["src/base/platform.ts", "src/ffi/**/*.ts"],
    rules: { "no-restricted-globals": "off" },
  },
  {
    files: ["src/base/platform.ts"],
    rules: { "no-restricted-properties": "off" },
  },
  {
    // These check at run time what their types promise: plain JavaScript calls them too.
    files: ["src/api/**/*.ts", "src/engine/**/*.ts", "src/sharing/*.ts", "src/base/**/*.ts"],
    rules: { "@typescript-eslint/no-unnecessary-condition": "off" },
  },
  {
    // Tests hand over values of every type, on purpose, and name them in their titles.
    files: ["test/**/*.ts"],
    rules: { "@typescript-eslint/no-base-to-string": "off" },
  },
  {
    // noUncheckedIndexedAccess makes every read of a typed array optional. In the core the bounds are invariants that
    // verify() checks, in replay and benchmarks the loop's own; testing for undefined would cost time on hot paths.
    files: ["src/core/**/*.ts", "src/cli/replay-rounds.ts", "bench/**/*.ts"],
    rules: { "@typescript-eslint/no-non-null-assertion": "off" },
  },
  {
    // Enums there are the offsets and sizes of a memory layout: numbers that the compiler writes in place, and that are
    // computed from each other, equal by chance, and compared with numbers.
    files: ["src/core/**/*.ts", "src/sharing/**/*.ts", "test/core/**/*.ts", "test/sharing/**/*.ts"],
    rules: {
      "@typescript-eslint/no-duplicate-enum-values": "off",
      "@typescript-eslint/prefer-literal-enum-member": "off",
      "@typescript-eslint/no-unsafe-enum-assignment": "off",
      "@typescript-eslint/no-unsafe-enum-comparison": "off",
    },
  },
  {
    files: ["src/core/**/*.ts"],
    rules: {
      "no-restricted-globals": [
        "error",
        { globals: [...runtimeGlobals, ...impureGlobals], checkGlobalObject: true },
      ],
      "no-restricted-properties": [
        "error",
        { object: "Math", property: "random", message: "core/ is pure: randomness comes from the caller." },
      ],
    },
  },
);
