/**
 * The rooms of the library, from the top to the bottom, and the lint rule that holds every import to them.
 * ESLint's own no-restricted-imports matches the text of an import, which `./../errors.ts` slips past, and does not
 * see `import()`; this rule resolves each specifier to the file it names and looks it up in one table.
 */
import path from "node:path";

/**
 * @typedef {object} Room A folder of `src/`.
 * @property {string} name
 * @property {string} job In one line; the table in docs/architecture.md says the same.
 * @property {readonly string[]} imports What its files may import besides each other: rooms (`ffi/`), single files of a
 *   room (`vm/contract.ts`), packages (`node:fs`, `node:*`).
 */

/** @type {readonly Room[]} From the top to the bottom: a room imports only from rooms below it. */
export const rooms = [
  {
    name: "cli",
    job: "thin commands over the public entry: demo, doctor, replay, top, view",
    // `doctor` imports from below the public entry, because it reports on those rooms.
    imports: [
      "index.ts",
      "view/",
      "insight/snapshot-format.ts",
      "insight/numbered-name.ts",
      "vm/select.ts",
      "vm/contract.ts",
      "vm/attempts.ts",
      "ffi/select.ts",
      "ffi/contract.ts",
      "base/",
      "node:*",
    ],
  },
  {
    name: "view",
    job: "the heap map: its data, its page for the browser, and its server",
    imports: ["insight/snapshot-format.ts", "base/", "node:crypto", "node:http", "node:zlib"],
  },
  {
    name: "api",
    job: "what users call: JitAllocator, JitRuntime, toFunction, VirtMem; arguments are checked here",
    imports: [
      "insight/",
      "link/",
      "sharing/",
      "engine/",
      "vm/select.ts",
      "vm/contract.ts",
      "ffi/select.ts",
      "ffi/contract.ts",
      "base/",
    ],
  },
  {
    name: "insight",
    job: "what people look at: names, announcing to gdb and perf, snapshots, traces, disassembly",
    imports: [
      "sharing/",
      "engine/",
      "vm/select.ts",
      "vm/contract.ts",
      "ffi/",
      "base/",
      "node:fs",
      "node:os",
      "node:path",
      "node:net",
      "node:zlib",
    ],
  },
  {
    name: "link",
    job: "code that reaches code: veneers, modules, symbols of libraries, callbacks into TypeScript",
    imports: [
      "engine/",
      "vm/contract.ts",
      "ffi/contract.ts",
      "ffi/c-string.ts",
      "ffi/common.ts",
      "ffi/libc-names.ts",
      "base/",
    ],
  },
  {
    name: "sharing",
    job: "one allocator in many threads: the lock, the members, the register, the repair",
    imports: ["engine/", "core/", "vm/contract.ts", "ffi/contract.ts", "base/"],
  },
  {
    name: "engine",
    job: "one allocator in one thread: core decides, memory acts; spans, writes, refusals",
    imports: ["core/", "vm/contract.ts", "vm/publish.ts", "ffi/contract.ts", "base/"],
  },
  {
    name: "core",
    job: "pure arithmetic on one shared buffer: no clock, no system, no object made per operation",
    imports: ["base/assert.ts"],
  },
  {
    name: "vm",
    job: "makes memory and never decides: one contract; linux, windows, darwin and a simulated machine",
    imports: ["ffi/", "base/", "node:fs", "node:os"],
  },
  {
    name: "ffi",
    job: "calls native functions: one contract; koffi, bun and deno",
    imports: ["base/", "node:module"],
  },
  {
    name: "base",
    job: "what everybody stands on: errors, intrinsics, platform, stack",
    imports: ["node:module", "node:fs", "node:worker_threads", "node:diagnostics_channel", "node:util"],
  },
];

/** What single files may import besides what their room may. */
const exceptions = [
  { files: "src/cli/view-listing.ts", imports: ["src/insight/iced.ts", "src/insight/capstone.ts"] },
  { files: "src/cli/demo.ts", imports: ["examples/brainf/", "examples/code-cache/"] },
  { files: "src/ffi/koffi-module.ts", imports: ["koffi"] },
  { files: "src/ffi/bun.ts", imports: ["bun:ffi"] },
  { files: "src/ffi/node.ts", imports: ["node:ffi"] },
  { files: "src/insight/iced.ts", imports: ["iced-x86"] },
  { files: "src/insight/capstone.ts", imports: ["@alexaltea/capstone-js"] },
];

/** The boundaries of files outside the rooms. */
const others = [
  {
    files: "src/*",
    imports: rooms.filter(({ name }) => name !== "cli" && name !== "view").map(({ name }) => `src/${name}/`),
    reason: "the entry is nothing but exports, and knows no command",
  },
  {
    files: "package/",
    imports: [
      "src/index.ts",
      "src/cli/main.ts",
      "src/insight/iced.ts",
      "src/insight/capstone.ts",
      "src/view/serve.ts",
    ],
    reason: "what package.json names is entries and the command, and nothing of its own",
  },
  {
    files: "examples/",
    imports: ["examples/", "jit-allocator", "@defasm/core", "iced-x86", "node:*"],
    reason: "an example imports the library the way its users do",
  },
];

/** What a file may import, and the reason for the boundary; undefined for files without one. */
function layerOf(/** @type {string} */ file) {
  const other = others.find(({ files }) => matches(file, files));
  if (other !== undefined) return other;
  const [top, name] = file.split("/");
  if (top !== "src") return undefined;
  const room = rooms.find((candidate) => candidate.name === name);
  if (room === undefined) return { imports: [], reason: `src/${name}/ is no room of scripts/layers.js` };
  return {
    imports: [
      `src/${room.name}/`,
      ...room.imports.map((target) => (target.includes(":") ? target : `src/${target}`)),
      ...exceptions.filter(({ files }) => files === file).flatMap(({ imports }) => imports),
    ],
    reason: `${room.name}/: ${room.job}`,
  };
}

/** The files that may name the FFI package of Node: the one that loads it, and the one that calls by it. */
const koffiFiles = ["src/ffi/koffi-module.ts", "src/ffi/koffi.ts"];

/**
 * @param {string} target A path from the root of the repository, or a package.
 * @param {string} pattern A file, a package, a folder with everything below it (`src/core/`), a folder's own files
 *   (`src/*`), or `node:*`.
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
      slow: "{{target}} takes a millisecond or more of the start of a program; load it by builtin() or requireModule()",
      koffi: `Only ${koffiFiles[1]} knows koffi; everything else speaks to ffi/contract.ts`,
    },
  },
  create(context) {
    const file = path.relative(context.cwd, context.filename).split(path.sep).join("/");
    const layer = layerOf(file);
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

    /** Node lists for an import all that a module exports, and loads what is behind `fs.promises` to do so. */
    function checkStart(/** @type {any} */ node) {
      const target = node.source.value;
      const isAtStart =
        file.startsWith("src/") && !/^src\/(cli|view)\//.test(file) && node.importKind !== "type";
      const isQuick = !/^node:/.test(target) || ["node:module", "node:diagnostics_channel"].includes(target);
      if (isAtStart && !isQuick) context.report({ node, messageId: "slow", data: { target } });
    }

    return {
      ImportDeclaration(node) {
        check(node.source);
        checkStart(node);
      },
      ExportNamedDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      TSImportType: (/** @type {any} */ node) => check(node.source ?? node.argument),
      "CallExpression[callee.name=/^(require(Module)?|builtin)$/]": (/** @type {any} */ node) =>
        check(node.arguments[0]),
      Literal(node) {
        const named = typeof node.value === "string" && /^koffi($|\/)/.test(node.value);
        if (named && file.startsWith("src/") && !koffiFiles.includes(file)) {
          context.report({ node, messageId: "koffi" });
        }
      },
    };
  },
};
