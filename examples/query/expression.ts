/** The trees of filters: what the parser makes, the checker passes on, and every generator walks. */

/** What computes a number of two numbers. */
export type ArithmeticOperator = "+" | "-" | "*" | "/" | "%";
/** What compares two numbers. On numbers `==` and `===` are the same, so that only one is left of them. */
export type ComparisonOperator = "<" | "<=" | ">" | ">=" | "==" | "!=";

/** A number for each row. */
export type NumberExpression =
  | { readonly kind: "number"; readonly value: number }
  /** `index` counts the columns that the filter names, in the order in which it does. */
  | { readonly kind: "column"; readonly index: number }
  | { readonly kind: "negation"; readonly operand: NumberExpression }
  | {
      readonly kind: "arithmetic";
      readonly operator: ArithmeticOperator;
      readonly left: NumberExpression;
      readonly right: NumberExpression;
    };

/** A truth value for each row. */
export type Condition =
  | {
      readonly kind: "comparison";
      readonly operator: ComparisonOperator;
      readonly left: NumberExpression;
      readonly right: NumberExpression;
    }
  | { readonly kind: "not"; readonly operand: Condition }
  | { readonly kind: "and" | "or"; readonly left: Condition; readonly right: Condition };

/** What a column holds: a Float64Array or an Int32Array. */
export type ColumnType = "f64" | "i32";

/** A column that a filter reads. */
export interface Column {
  readonly name: string;
  readonly type: ColumnType;
}

/** A filter that passed the checker. */
export interface Query {
  readonly text: string;
  readonly condition: Condition;
  /** The columns that the condition reads, each once. */
  readonly columns: readonly Column[];
}

/** The filter has a mistake; the message shows where. */
export class QueryError extends Error {
  override readonly name = "QueryError";

  constructor(message: string, text: string, offset: number) {
    super(`${message}\n  ${text}\n  ${" ".repeat(offset)}^`);
  }
}
