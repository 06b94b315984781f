/**
 * Makes what is published of what tsc made of `src/`: `node scripts/bundle.js [FOLDER]`, into `dist/package/` or the
 * folder. The library becomes one file, and each command another, which is loaded when it is asked for. The types become
 * one file as well. The sources are in the source maps, line by line, without their documentation.
 *
 * tsc comes first, because it alone puts `const enum` of other files in place (docs/performance.md).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { decode, encode } from "@jridgewell/sourcemap-codec";
import { rolldown } from "rolldown";
import ts from "typescript";
import { withoutAssertions } from "./assertions.js";
import { gatherTypes } from "./public-types.js";

const root = path.resolve(import.meta.dirname, "..");
const dist = path.join(root, "dist");
const library = path.join(dist, "src/index.js");
const commands = path.join(dist, "src/cli");
/** Entries with a peer that only those who ask for them have. */
const decoders = ["iced", "capstone"];
/** @param {string} name @param {string} extension */
const decoderFile = (name, extension) => path.join(dist, `src/insight/${name}${extension}`);
const isDecoder = (/** @type {string} */ id) => decoders.some((name) => id === decoderFile(name, ".js"));
/** The heap map: its page is for the command and for whoever serves it, not for the library. */
const heapMap = path.join(dist, "src/view");
const heapMapEntry = path.join(heapMap, "serve.js");
const target = path.resolve(process.argv[2] ?? path.join(dist, "package"));

/** How the other files import what they share. */
const fromLibrary = /^import \{ (.+) \} from "\.\/library\.js";$/m;

if (!existsSync(library)) throw new Error(`${library} is missing: run \`npm run build\` first`);
rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });

/** What tsc made, without assertions, and the way back to its source. @type {import("rolldown").Plugin} */
const compiled = {
  name: "compiled",
  // The examples that the demo consists of import the library by its name.
  resolveId: (id) => (id === "jit-allocator" ? library : undefined),
  load(id) {
    if (!id.startsWith(dist)) return undefined;
    // The page of the heap map is text that another script has made.
    if (!existsSync(`${id}.map`)) return { code: readFileSync(id, "utf8"), map: null };
    const map = JSON.parse(readFileSync(`${id}.map`, "utf8"));
    map.sourcesContent = map.sources.map((/** @type {string} */ source) =>
      readFileSync(path.resolve(path.dirname(id), map.sourceRoot ?? "", source), "utf8"),
    );
    return { code: withoutCopies(withoutAssertions(readFileSync(id, "utf8")).text), map };
  },
};

const bundle = await rolldown({
  input: {
    index: library,
    cli: path.join(dist, "src/cli/main.js"),
    "heap-map": heapMapEntry,
    ...Object.fromEntries(decoders.map((name) => [name, decoderFile(name, ".js")])),
  },
  platform: "node",
  external: [/^node:/, "iced-x86", "@alexaltea/capstone-js"],
  plugins: [compiled],
  onLog(level, log) {
    throw new Error(`rolldown, ${level}: ${log.message}`);
  },
});
await bundle.write({
  dir: target,
  format: "esm",
  sourcemap: true,
  // Short local names save a millisecond of the start, which V8 would take to read the long ones. Functions keep their names
  // and statements their lines, for stack traces.
  minify: { compress: false, mangle: { keepNames: true }, codegen: { removeWhitespace: false } },
  // The sources in the maps have them.
  comments: { jsdoc: false },
  entryFileNames: "[name].js",
  chunkFileNames: "[name].js",
  codeSplitting: {
    groups: [
      {
        name: "library",
        test: (id) =>
          id.startsWith(path.join(dist, "src")) &&
          ![commands, heapMap].some((folder) => id.startsWith(folder)) &&
          !isDecoder(id),
      },
      { name: "heap-page", test: (id) => id.startsWith(heapMap) && id !== heapMapEntry },
      // What commands share. A command of its own is asked for by its name.
      { name: "commands", test: (id) => id.startsWith(commands), minShareCount: 2 },
    ],
  },
});
await bundle.close();
joinLibrary();

for (const file of readdirSync(target).filter((name) => name.endsWith(".js.map"))) {
  const mapFile = path.join(target, file);
  writeFileSync(mapFile, thinned(readFileSync(mapFile, "utf8")));
}
// Programs debug the library, and not the commands, whose maps would be an eighth of the package.
for (const file of readdirSync(target).filter((name) => name.endsWith(".js.map"))) {
  if (["index", ...decoders].includes(file.slice(0, -".js.map".length))) continue;
  const compiledFile = path.join(target, file.slice(0, -".map".length));
  rmSync(path.join(target, file));
  writeFileSync(
    compiledFile,
    readFileSync(compiledFile, "utf8").replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n"),
  );
}

gatherTypes({ entry: path.join(dist, "src/index.d.ts"), rollup: path.join(target, "index.d.ts") });
for (const name of decoders)
  gatherTypes({ entry: decoderFile(name, ".d.ts"), rollup: path.join(target, `${name}.d.ts`) });

gatherTypes({ entry: heapMapEntry.replace(/\.js$/, ".d.ts"), rollup: path.join(target, "heap-map.d.ts") });

/**
 * Makes the library and the list of its exports one file, because finding and reading a second one takes half a millisecond of
 * the start. It also exports what the commands take from inside, by names that no types tell.
 *
 * One character beyond ASCII would double the memory that V8 reads the file into, which takes as long again.
 */
function joinLibrary() {
  const read = (/** @type {string} */ name) => readFileSync(path.join(target, name), "utf8");
  /** @returns {[name: string, as: string][]} */
  const pairs = (/** @type {string} */ list) =>
    list.split(", ").map((item) => {
      const [name = "", as = name] = item.split(" as ");
      return [name, as];
    });
  const code = read("library.js");
  const [list = "", names = ""] = /^export \{ (.+) \};$/m.exec(code) ?? [];
  const imported = new Map(
    pairs(fromLibrary.exec(read("index.js"))?.[1] ?? "").map(([name, local]) => [local, name]),
  );
  const published = new Map(
    pairs(/^export \{ (.+) \};$/m.exec(read("index.js"))?.[1] ?? "").map(([local, name]) => [
      imported.get(local),
      name,
    ]),
  );
  const nameOf = (/** @type {string} */ name) => published.get(name) ?? `internal${name}`;
  const exports = pairs(names).map(([local, name]) => `${local} as ${nameOf(name)}`);
  rmSync(path.join(target, "library.js"));
  // JSR finds the types by this line; everybody else by package.json.
  const head = '/* @ts-self-types="./index.d.ts" */\n';
  const joined = code
    .replace(list, `export { ${exports.join(", ")} };`)
    .replace("library.js.map", "index.js.map");
  writeFileSync(path.join(target, "index.js"), head + inAscii(joined));
  const map = JSON.parse(read("library.js.map"));
  rmSync(path.join(target, "library.js.map"));
  writeFileSync(
    path.join(target, "index.js.map"),
    JSON.stringify({ ...map, file: "index.js", mappings: `;${map.mappings}` }),
  );
  for (const file of readdirSync(target).filter((name) => name.endsWith(".js") && name !== "index.js")) {
    const renamed = read(file).replace(fromLibrary, (_, wanted) => {
      const wants = pairs(wanted).map(([name, local]) => `${nameOf(name)} as ${local}`);
      return `import { ${wants.join(", ")} } from "./index.js";`;
    });
    if (renamed.includes("library.js")) throw new Error(`${file} asks for a file that is gone`);
    writeFileSync(path.join(target, file), renamed);
  }
}

/**
 * Imports functions by their names where a file copies them into constants of its own (docs/performance.md): within one file
 * there is nothing to copy, and the objects that they are copied from would be made at each start. Lines stay where they are.
 *
 * @param {string} code
 */
function withoutCopies(code) {
  return code
    .replace(/^import \* as (\w+) from ("\.[^"]+");$/gm, (whole, object, file) => {
      const copies = [...code.matchAll(new RegExp(`^const \\{ (.+?),? \\} = ${object};$`, "gm"))];
      const names = copies.map(([, list]) => list.replaceAll(": ", " as "));
      return names.length === 0 ? whole : `${whole} import { ${names.join(", ")} } from ${file};`;
    })
    .replace(/^const \{ .+ \} = (\w+);$/gm, (whole, object) =>
      new RegExp(`^import \\* as ${object} from "\\.`, "m").test(code) ? "" : whole,
    );
}

/**
 * The same code in ASCII. Only texts have other characters, and in each kind of text an escape says the same.
 *
 * @param {string} code
 */
function inAscii(code) {
  if (/\\[^\0-\x7f]/.test(code)) throw new Error("a character beyond ASCII must not follow a backslash");
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * A source map that leads to lines: of each line of the file, a place for each line of the source that it came from. A place
 * for each word would be a fifth of the package.
 *
 * @param {string} text
 */
function thinned(text) {
  const map = JSON.parse(text);
  const lines = decode(map.mappings).map((segments) =>
    segments
      .filter(([, source, line], index) => {
        const [, sourceBefore, lineBefore] = segments[index - 1] ?? [];
        return source !== sourceBefore || line !== lineBefore;
      })
      .map((segment) => segment.slice(0, 4)),
  );
  const sourcesContent = map.sourcesContent.map(withoutDocumentation);
  return JSON.stringify({ ...map, names: [], sourcesContent, mappings: encode(lines) });
}

/**
 * A source in which the lines of documentation are empty: they would be a fifth of the package, and the types have them.
 *
 * @param {string} text
 */
function withoutDocumentation(text) {
  const file = ts.createSourceFile("source.ts", text, ts.ScriptTarget.Latest, true);
  let result = text;
  const visit = (/** @type {ts.Node} */ node) => {
    for (const { pos, end } of ts.getLeadingCommentRanges(text, node.getFullStart()) ?? []) {
      const start = text.lastIndexOf("\n", pos) + 1;
      const isAlone = text.slice(start, pos).trim() === "" && /^[ \t]*\r?\n/.test(text.slice(end));
      if (!isAlone || !text.startsWith("/**", pos)) continue;
      // Of the same length, so that the other places stay right; what is left of the lines goes at the end.
      result = result.slice(0, start) + text.slice(start, end).replace(/[^\n]/g, " ") + result.slice(end);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return result.replace(/^ +$/gm, "");
}
