/**
 * The layers of the library as a lint rule: which file may import what.
 * ESLint's own no-restricted-imports matches the text of an import, which `./../errors.ts` slips past, and does not
 * see `import()`; this rule resolves each specifier to the file it names and looks it up in one table.
 */
import path from "node:path";

/**
 * @typedef {object} Layer
 * @property {string} files A file, a folder with everything below it (`src/core/`), or a folder's own files (`src/*`).
 * @property {readonly string[]} imports What those files may import: files and folders in the same notation, packages.
 * @property {string} reason What the boundary is for; part of the message.
 */

const ffiImports = ["src/ffi/", "src/errors.ts", "src/platform.ts", "node:module"];
const ffiReason = "ffi/ calls native functions and knows nothing of memory or of the allocator";

/** @type {readonly Layer[]} From the narrowest to the widest: the first entry that names a file decides. */
export const layers = [
  {
    files: "src/core/",
    imports: ["src/core/"],
    reason: "core/ is pure: it must run anywhere, on simulated memory, without the system",
  },
  {
    files: "src/sync/",
    imports: ["src/sync/"],
    reason: "sync/ is a lock on Atomics and needs nothing else",
  },
  {
    files: "src/errors.ts",
    imports: [],
    reason: "every layer above core/ imports errors.ts, so it imports none",
  },
  { files: "src/platform.ts", imports: [], reason: "platform.ts only looks at globals" },
  { files: "src/ffi/koffi.ts", imports: [...ffiImports, "koffi"], reason: ffiReason },
  { files: "src/ffi/bun.ts", imports: [...ffiImports, "bun:ffi"], reason: ffiReason },
  { files: "src/ffi/", imports: ffiImports, reason: ffiReason },
  {
    files: "src/vm/",
    imports: ["src/vm/", "src/ffi/", "src/errors.ts", "src/platform.ts", "node:fs", "node:os"],
    reason: "vm/ makes memory and never decides where code goes",
  },
  {
    files: "src/cli/",
    imports: [
      "src/cli/",
      "src/index.ts",
      "examples/brainf/",
      // `doctor` looks below the public entry, because what it reports is what lies there.
      "src/vm/select.ts",
      "src/vm/contract.ts",
      "src/vm/attempts.ts",
      "src/ffi/select.ts",
      "src/ffi/contract.ts",
      "src/platform.ts",
      "node:*",
    ],
    reason: "a command is a thin user of the public entry",
  },
  {
    files: "src/*",
    imports: ["src/*", "src/core/", "src/sync/", "src/vm/", "src/ffi/"],
    reason: "the facade composes the layers below it and knows no command",
  },
  {
    files: "examples/",
    imports: ["examples/", "jit-allocator", "@defasm/core", "node:*"],
    reason: "an example imports the library the way its users do",
  },
];

/** The one file that may name the FFI package of Node. */
const koffiFile = "src/ffi/koffi.ts";

/**
 * @param {string} target A path from the root of the repository, or a package.
 * @param {string} pattern In the notation of {@link Layer}.
 */
function matches(target, pattern) {
  if (pattern.endsWith("/")) return target.startsWith(pattern);
  if (pattern.endsWith("/*")) return path.posix.dirname(target) === pattern.slice(0, -2);
  if (pattern.endsWith(":*")) return target.startsWith(pattern.slice(0, -1));
  return target === pattern;
}

/** @type {import("eslint").Rule.RuleModule} */
export const layerRule = {
  meta: {
    type: "problem",
    schema: [],
    messages: {
      crossing: "{{file}} must not import {{target}}: {{reason}}",
      computed: "A computed import cannot be checked against the layers; write the specifier out",
      koffi: `Only ${koffiFile} knows koffi; everything else speaks to ffi/contract.ts`,
    },
  },
  create(context) {
    const file = path.relative(context.cwd, context.filename).split(path.sep).join("/");
    const layer = layers.find((candidate) => matches(file, candidate.files));
    if (layer === undefined) return {};

    /** @param {any} source The node of the specifier; null in `export { x }`. */
    function check(source) {
      if (source === null || source === undefined) return;
      const specifier = source.type === "TSLiteralType" ? source.literal.value : source.value;
      if (typeof specifier !== "string") {
        context.report({ node: source, messageId: "computed" });
        return;
      }
      const target = specifier.startsWith(".")
        ? path.posix.join(path.posix.dirname(file), specifier)
        : specifier;
      if (!layer?.imports.some((pattern) => matches(target, pattern))) {
        const data = { file, target, reason: layer?.reason ?? "" };
        context.report({ node: source, messageId: "crossing", data });
      }
    }

    return {
      ImportDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      TSImportType: (/** @type {any} */ node) => check(node.source ?? node.argument),
      "CallExpression[callee.name='require']": (/** @type {any} */ node) => check(node.arguments[0]),
      Literal(node) {
        const named = typeof node.value === "string" && /^koffi($|\/)/.test(node.value);
        if (named && file.startsWith("src/") && file !== koffiFile) {
          context.report({ node, messageId: "koffi" });
        }
      },
    };
  },
};
