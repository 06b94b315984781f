/**
 * Takes the assertions out of the compiled library: `node scripts/strip-assertions.js [FOLDER]`, after tsc.
 *
 * Assertions (`src/base/assert.ts`) are for those who change the library: the tests and the fuzzers run with them, the
 * published library runs without. Switching them off by a condition would not be enough: V8 decides by the length of a
 * function's bytecode what it inlines, and the hot paths of core/ are near that limit (docs/performance.md).
 *
 * Each statement `assert(…);` becomes a semicolon and spaces, so that every line and column stays where the source map
 * expects it.
 */
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";

const library = process.argv[2] ?? path.join(import.meta.dirname, "../dist/src");
let count = 0;

for (const file of readdirSync(library, { recursive: true, encoding: "utf8" })) {
  if (!file.endsWith(".js")) continue;
  const text = readFileSync(path.join(library, file), "utf8");
  const stripped = strip(text);
  if (stripped !== text) writeFileSync(path.join(library, file), stripped);
}
console.log(`took ${count} assertions out of ${library}`);
// No assertion was found: there is none, or this script missed it. Either way somebody should look.
if (count === 0) process.exitCode = 1;

function strip(/** @type {string} */ text) {
  if (!text.includes("assert(")) return text;
  const source = ts.createSourceFile("module.js", text, ts.ScriptTarget.Latest, false, ts.ScriptKind.JS);
  let result = text;
  const visit = (/** @type {ts.Node} */ node) => {
    if (isAssertion(node)) {
      const start = node.getStart(source);
      // The semicolon stays: an assertion may be all that an `if` has.
      const blank = text.slice(start + 1, node.end).replace(/[^\n]/g, " ");
      result = `${result.slice(0, start)};${blank}${result.slice(node.end)}`;
      count++;
      return;
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return result;
}

function isAssertion(/** @type {ts.Node} */ node) {
  return (
    ts.isExpressionStatement(node) &&
    ts.isCallExpression(node.expression) &&
    ts.isIdentifier(node.expression.expression) &&
    node.expression.expression.text === "assert"
  );
}
