/** The filter as plain JavaScript, which V8 compiles: what the others are compared with, and what they fall back to. */
import { compileFunction } from "node:vm";
import type { Condition, NumberExpression, Query } from "./expression.ts";

/** The memory of a column. */
export type ColumnData = Float64Array | Int32Array;

/**
 * Looks at the rows from `from` up to `to`, and appends the numbers of those that pass to the first `count` of
 * `selection`.
 *
 * @returns how many rows are selected then
 */
export type PlainFilter = (
  selection: Uint32Array,
  count: number,
  from: number,
  to: number,
  ...columns: readonly ColumnData[]
) => number;

function numberText(expression: NumberExpression): string {
  switch (expression.kind) {
    case "number":
      return String(expression.value);
    case "column":
      return `column${expression.index}[row]`;
    case "negation":
      return `(-${numberText(expression.operand)})`;
    case "arithmetic":
      return `(${numberText(expression.left)} ${expression.operator} ${numberText(expression.right)})`;
  }
}

function conditionText(condition: Condition): string {
  switch (condition.kind) {
    case "comparison":
      return `(${numberText(condition.left)} ${condition.operator} ${numberText(condition.right)})`;
    case "not":
      return `(!${conditionText(condition.operand)})`;
    case "and":
    case "or": {
      const operator = condition.kind === "and" ? "&&" : "||";
      return `(${conditionText(condition.left)} ${operator} ${conditionText(condition.right)})`;
    }
  }
}

/** How many were made: a text of its own keeps V8 from taking a function for one that it knows already. */
let serial = 0;

/** 1 where the condition holds, else 0, without a branch: both sides of `&&` and `||` are computed. */
function bitText(condition: Condition): string {
  switch (condition.kind) {
    case "comparison":
      return `(+${conditionText(condition)})`;
    case "not":
      return `(${bitText(condition.operand)} ^ 1)`;
    case "and":
    case "or": {
      const operator = condition.kind === "and" ? "&" : "|";
      return `(${bitText(condition.left)} ${operator} ${bitText(condition.right)})`;
    }
  }
}

/** The loop that one would write by hand, as a function that V8 has yet to compile. */
export function toPlainFilter(query: Query): PlainFilter {
  return compile(
    query,
    `if (${conditionText(query.condition)}) {
      selection[count] = row;
      count = (count + 1) | 0;
    }`,
  );
}

/** The loop that one would write after a look at how processors guess branches: each row is written, and kept or not. */
export function toBranchFreeFilter(query: Query): PlainFilter {
  return compile(query, `selection[count] = row; count = (count + ${bitText(query.condition)}) | 0;`);
}

function compile({ columns }: Query, body: string): PlainFilter {
  const loop = `for (let row = from; row < to; row++) { ${body} } return count; // ${serial++}`;
  const parameters = ["selection", "count", "from", "to", ...columns.map((_, index) => `column${index}`)];
  return compileFunction(loop, parameters) as PlainFilter;
}
