/**
 * Assertions (`src/base/assert.ts`) are for those who change the library: the tests and the fuzzers run with them, the
 * published library runs without. Switching them off by a condition would not be enough: V8 decides by the length of a
 * function's bytecode what it inlines, and the hot paths of core/ are near that limit (docs/performance.md).
 */
import ts from "typescript";

/**
 * Takes the assertions out of a compiled module. Each statement `assert(…);` becomes a semicolon and spaces, so that
 * every line and column stays where the source map expects it.
 *
 * @param {string} text
 * @returns {{ text: string, count: number }} what is left, and how many there were
 */
export function withoutAssertions(text) {
  let result = text;
  let count = 0;
  if (!text.includes("assert(")) return { text, count };
  const source = ts.createSourceFile("module.js", text, ts.ScriptTarget.Latest, false, ts.ScriptKind.JS);
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
  return { text: result, count };
}

function isAssertion(/** @type {ts.Node} */ node) {
  return (
    ts.isExpressionStatement(node) &&
    ts.isCallExpression(node.expression) &&
    ts.isIdentifier(node.expression.expression) &&
    node.expression.expression.text === "assert"
  );
}
