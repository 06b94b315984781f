/** Tells numbers from conditions and finds the columns, so that no generator meets a mistake. */
import type {
  ArithmeticOperator,
  Column,
  ColumnType,
  ComparisonOperator,
  Condition,
  NumberExpression,
  Query,
} from "./expression.ts";
import { QueryError } from "./expression.ts";
import type { Syntax } from "./parser.ts";
import { parse } from "./parser.ts";

const ARITHMETIC: ReadonlyMap<string, ArithmeticOperator> = new Map(
  (["+", "-", "*", "/", "%"] as const).map((operator) => [operator, operator]),
);
const COMPARISONS: ReadonlyMap<string, ComparisonOperator> = new Map<string, ComparisonOperator>([
  ...(["<", "<=", ">", ">=", "==", "!="] as const).map((operator) => [operator, operator] as const),
  ["===", "=="],
  ["!==", "!="],
]);

/** Every column takes a register that the calling conventions let a function use. */
const MAX_COLUMNS = 6;

class Checker {
  readonly #text: string;
  readonly #types: Readonly<Record<string, ColumnType>>;
  readonly columns: Column[] = [];

  constructor(text: string, types: Readonly<Record<string, ColumnType>>) {
    this.#text = text;
    this.#types = types;
  }

  condition(syntax: Syntax): Condition {
    if (syntax.kind === "prefix" && syntax.operator === "!") {
      return { kind: "not", operand: this.condition(syntax.operand) };
    }
    if (syntax.kind === "infix") {
      if (syntax.operator === "&&" || syntax.operator === "||") {
        const kind = syntax.operator === "&&" ? "and" : "or";
        return { kind, left: this.condition(syntax.left), right: this.condition(syntax.right) };
      }
      const operator = COMPARISONS.get(syntax.operator);
      if (operator !== undefined) {
        const left = this.number(syntax.left);
        return { kind: "comparison", operator, left, right: this.number(syntax.right) };
      }
    }
    throw new QueryError("This is a number, and a condition belongs here", this.#text, syntax.offset);
  }

  number(syntax: Syntax): NumberExpression {
    switch (syntax.kind) {
      case "number":
        return { kind: "number", value: syntax.value };
      case "name":
        return { kind: "column", index: this.#column(syntax.name, syntax.offset) };
      case "prefix":
        if (syntax.operator === "!") break;
        // A plus changes no number.
        if (syntax.operator === "+") return this.number(syntax.operand);
        return { kind: "negation", operand: this.number(syntax.operand) };
      case "infix": {
        const operator = ARITHMETIC.get(syntax.operator);
        if (operator === undefined) break;
        const left = this.number(syntax.left);
        return { kind: "arithmetic", operator, left, right: this.number(syntax.right) };
      }
    }
    throw new QueryError("This is a condition, and a number belongs here", this.#text, syntax.offset);
  }

  #column(name: string, offset: number): number {
    const known = this.columns.findIndex((column) => column.name === name);
    if (known !== -1) return known;
    const type = Object.hasOwn(this.#types, name) ? this.#types[name] : undefined;
    if (type === undefined) {
      const names = Object.keys(this.#types).join(", ");
      throw new QueryError(`There is no column ${name}; there are ${names}`, this.#text, offset);
    }
    if (this.columns.length === MAX_COLUMNS) {
      throw new QueryError(`A filter reads at most ${MAX_COLUMNS} columns`, this.#text, offset);
    }
    return this.columns.push({ name, type }) - 1;
  }
}

/**
 * Parses and checks a filter.
 *
 * @param types of the columns that there are, by name
 * @throws {@link QueryError} if it is no condition over these columns; the message shows where
 */
export function toQuery(text: string, types: Readonly<Record<string, ColumnType>>): Query {
  const checker = new Checker(text, types);
  const condition = checker.condition(parse(text));
  return { text, condition, columns: checker.columns };
}
