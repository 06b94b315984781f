/** Filters are a part of JavaScript's expressions, with its precedence: text in, a tree out. */
import { QueryError } from "./expression.ts";

/** A part of the text, before anybody knows whether it is a number or a condition. */
export type Syntax = { readonly offset: number } & (
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "prefix"; readonly operator: "-" | "+" | "!"; readonly operand: Syntax }
  | { readonly kind: "infix"; readonly operator: string; readonly left: Syntax; readonly right: Syntax }
);

/** From the loosest to the tightest; operators of one line group to the left. */
const PRECEDENCE: readonly (readonly string[])[] = [
  ["||"],
  ["&&"],
  ["===", "!==", "==", "!="],
  ["<=", ">=", "<", ">"],
  ["+", "-"],
  ["*", "/", "%"],
];

/** Nesting beyond this is a mistake, and would end in a stack overflow. */
const MAX_DEPTH = 200;
/** Operators of one line make a tree that is as deep as they are many. */
const MAX_OPERATORS = 1000;

interface Token {
  readonly offset: number;
  readonly kind: "number" | "name" | "operator" | "end";
  readonly text: string;
}

/** A decimal literal of JavaScript, not followed by what would make it another one; a name; an operator,
 * but not `--` and `++`, which change a variable. */
const TOKEN =
  /(?<number>(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w$.]))|(?<name>[A-Za-z_$][\w$]*)|(?<operator>===|!==|==|!=|<=|>=|&&|\|\||-(?!-)|\+(?!\+)|[*/%<>!()])/y;

function tokenize(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let offset = 0;
  while (true) {
    while (/\s/.test(text.charAt(offset))) offset++;
    if (offset === text.length) break;
    TOKEN.lastIndex = offset;
    const match = TOKEN.exec(text);
    if (match === null) throw new QueryError("This is no part of a filter", text, offset);
    const kind =
      match.groups?.["number"] !== undefined
        ? "number"
        : match.groups?.["name"] !== undefined
          ? "name"
          : "operator";
    tokens.push({ offset, kind, text: match[0] });
    offset = TOKEN.lastIndex;
  }
  tokens.push({ offset, kind: "end", text: "" });
  return tokens;
}

class Parser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  #position = 0;
  #depth = 0;
  #operators = 0;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = tokenize(text);
  }

  parse(): Syntax {
    const whole = this.#infix(0);
    const rest = this.#token;
    if (rest.kind !== "end") this.#fail("An operator is missing before this", rest.offset);
    return whole;
  }

  get #token(): Token {
    const token = this.#tokens[this.#position];
    if (token === undefined) throw new RangeError("Nothing follows the end of the text");
    return token;
  }

  #infix(level: number): Syntax {
    const operators = PRECEDENCE[level];
    if (operators === undefined) return this.#prefix();
    let left = this.#infix(level + 1);
    while (this.#token.kind === "operator" && operators.includes(this.#token.text)) {
      const { offset, text: operator } = this.#token;
      if (++this.#operators > MAX_OPERATORS)
        this.#fail(`This is one operator too many: ${MAX_OPERATORS} fit`, offset);
      this.#position++;
      left = { kind: "infix", offset, operator, left, right: this.#infix(level + 1) };
    }
    return left;
  }

  #prefix(): Syntax {
    const { offset, kind, text } = this.#token;
    if (++this.#depth > MAX_DEPTH) this.#fail("This is nested too deeply", offset);
    try {
      this.#position++;
      if (kind === "number") return { kind, offset, value: Number(text) };
      if (kind === "name") return { kind, offset, name: text };
      if (text === "-" || text === "+" || text === "!") {
        return { kind: "prefix", offset, operator: text, operand: this.#prefix() };
      }
      if (text !== "(") this.#fail("A number, a column or a parenthesis belongs here", offset);
      const inner = this.#infix(0);
      if (this.#token.text !== ")") this.#fail("This parenthesis is never closed", offset);
      this.#position++;
      return inner;
    } finally {
      this.#depth--;
    }
  }

  #fail(message: string, offset: number): never {
    throw new QueryError(message, this.#text, offset);
  }
}

/**
 * Parses a filter such as `price > 10 && qty % 7 < 3`.
 *
 * @throws {@link QueryError} if it is none; the message shows where
 */
export function parse(text: string): Syntax {
  return new Parser(text).parse();
}
