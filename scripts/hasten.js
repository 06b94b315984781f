/** What makes the published library start sooner, line by line, so that the source map stays right. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { decode, encode } from "@jridgewell/sourcemap-codec";
import ts from "typescript";

const calledAtStart = path.join(import.meta.dirname, "called-at-start.js");

/** A line of the file, and the places in the sources that it came from. @typedef {{ text: string, segments: number[][] }} Line */

/**
 * Rewrites a file and its map.
 * - Functions that the first call of a program needs stand in parentheses, as if they were called on the spot: V8 compiles
 *   such a function when it first reads it, and does not have to read it a second time.
 * - Lines are not indented.
 *
 * @param {string} file
 */
export function hasten(file) {
  const code = readFileSync(file, "utf8");
  const map = JSON.parse(readFileSync(`${file}.map`, "utf8"));
  const segments = decode(map.mappings);
  /** @type {Line[]} */
  const lines = code.split("\n").map((text, index) => ({ text, segments: segments[index] ?? [] }));
  const hastened = withoutIndentation(withFunctionsFirst(lines, functionsCalled(file)));
  writeFileSync(file, hastened.map(({ text }) => text).join("\n"));
  const mappings = encode(/** @type {any} */ (hastened.map((line) => line.segments)));
  writeFileSync(`${file}.map`, JSON.stringify({ ...map, mappings }));
}

/**
 * Where the functions begin that the first call needs, as characters of the file. None where this machine cannot run the library.
 *
 * @param {string} file
 * @returns {Set<number>}
 */
function functionsCalled(file) {
  const { status, stdout } = spawnSync(process.execPath, [calledAtStart, file], { encoding: "utf8" });
  return new Set(status === 0 ? JSON.parse(stdout) : []);
}

/**
 * Puts the declarations of functions that begin at `called` right behind the first line, as constants in parentheses. Before
 * everything else, because a declaration can be called before its line is reached; the first line is for others to read.
 *
 * @param {Line[]} lines
 * @param {Set<number>} called
 * @returns {Line[]}
 */
function withFunctionsFirst(lines, called) {
  const first = [];
  const others = [];
  let begin = 0;
  for (let i = 0; i < lines.length; i++) {
    const { text, segments } = lines[i];
    const [, name, rest] = /^function (\w+)(\(.*\{)$/.exec(text) ?? [];
    const end =
      name === undefined || !called.has(begin)
        ? -1
        : lines.findIndex((line, j) => j > i && line.text === "}");
    const taken = lines.slice(i, end === -1 ? i + 1 : end + 1);
    if (end === -1) others.push(...taken);
    else {
      first.push({ text: `const ${name} = (function${rest}`, segments }, ...taken.slice(1, -1));
      first.push({ text: "});", segments: lines[end].segments });
      i = end;
    }
    begin += taken.reduce((sum, line) => sum + line.text.length + 1, 0);
  }
  const [head, ...rest] = others;
  return [head, ...first, ...rest];
}

/**
 * @param {Line[]} lines
 * @returns {Line[]}
 */
function withoutIndentation(lines) {
  const inText = linesInTemplates(lines.map(({ text }) => text).join("\n"));
  return lines.map((line, index) => {
    const text = line.text.trimStart();
    if (inText.has(index)) return line;
    const cut = line.text.length - text.length;
    const segments = line.segments.map(([column = 0, ...origin]) => [Math.max(0, column - cut), ...origin]);
    return { text, segments };
  });
}

/**
 * The lines that begin inside of a template literal, whose white space counts.
 *
 * @param {string} code
 * @returns {Set<number>}
 */
function linesInTemplates(code) {
  const file = ts.createSourceFile("index.js", code, ts.ScriptTarget.Latest);
  const found = new Set();
  /** @param {ts.Node} node */
  const visit = (node) => {
    if (ts.isTemplateLiteralToken(node)) {
      const from = file.getLineAndCharacterOfPosition(node.getStart(file)).line;
      const to = file.getLineAndCharacterOfPosition(node.end).line;
      for (let line = from + 1; line <= to; line++) found.add(line);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}
