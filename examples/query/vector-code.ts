/**
 * What all processors have in common: straight code on vectors of numbers and on masks, one operation a line. A
 * generator turns each line into an instruction or two, for as many rows as its vectors have lanes.
 */
import type { ComparisonOperator } from "./expression.ts";

/** A line of the code, and the vector or mask that it makes. */
export type Value = number;

/** What makes a number of two, in each lane. The last two work on the bits, which is how signs are copied. */
export type BinaryOperator = "add" | "subtract" | "multiply" | "divide" | "bit-and" | "bit-or";

/** Masks have a truth value for each lane. */
export type Operation =
  | { readonly kind: "column"; readonly index: number }
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: BinaryOperator; readonly operands: readonly [Value, Value] }
  /** `truncate` rounds towards zero. */
  | { readonly kind: "negate" | "absolute" | "truncate"; readonly operands: readonly [Value] }
  /** third - first * second, rounded once. */
  | { readonly kind: "subtract-product"; readonly operands: readonly [Value, Value, Value] }
  /** first + second, or first - second, in the lanes of the mask, which is third; first in the others. */
  | { readonly kind: "add-where" | "subtract-where"; readonly operands: readonly [Value, Value, Value] }
  /** first - second if that is not negative, else first, which is not. */
  | { readonly kind: "subtract-once"; readonly operands: readonly [Value, Value] }
  | {
      readonly kind: "compare";
      readonly operator: ComparisonOperator;
      readonly operands: readonly [Value, Value];
    }
  | { readonly kind: "mask-and" | "mask-or"; readonly operands: readonly [Value, Value] }
  | { readonly kind: "mask-not"; readonly operands: readonly [Value] };

/** What the vectors of a processor can do. */
export interface Abilities {
  /** Products are added or subtracted in one rounding. */
  readonly fused: boolean;
  /** There is an instruction that rounds towards zero. */
  readonly truncates: boolean;
  /** There is an instruction that selects by the signs of numbers, so that "subtract-once" needs no comparison. */
  readonly selectsBySign: boolean;
}

export interface VectorCode {
  readonly operations: readonly Operation[];
  /** The mask of the lanes that pass. */
  readonly result: Value;
  /** The mask of the lanes for which the code is not exact; undefined if it always is. */
  readonly doubtful: Value | undefined;
}

export function operandsOf(operation: Operation): readonly Value[] {
  return "operands" in operation ? operation.operands : [];
}

export function isMask({ kind }: Operation): boolean {
  return kind === "compare" || kind === "mask-and" || kind === "mask-or" || kind === "mask-not";
}

/** Collects operations. The same operation on the same operands is there once. */
export class VectorBuilder {
  readonly operations: Operation[] = [];
  readonly abilities: Abilities;
  readonly #known = new Map<string, Value>();
  #doubtful: Value | undefined;

  constructor(abilities: Abilities) {
    this.abilities = abilities;
  }

  add(operation: Operation): Value {
    // JSON makes null of what is not finite, and 0 of -0.
    const key =
      operation.kind === "constant"
        ? `constant ${Object.is(operation.value, -0) ? "-0" : operation.value}`
        : JSON.stringify(operation);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const value = this.operations.push(operation) - 1;
    this.#known.set(key, value);
    return value;
  }

  constant(value: number): Value {
    return this.add({ kind: "constant", value });
  }

  unary(kind: "negate" | "absolute" | "mask-not", operand: Value): Value {
    return this.add({ kind, operands: [operand] });
  }

  binary(kind: BinaryOperator | "mask-and" | "mask-or", left: Value, right: Value): Value {
    return this.add({ kind, operands: [left, right] });
  }

  compare(operator: ComparisonOperator, left: Value, right: Value): Value {
    return this.add({ kind: "compare", operator, operands: [left, right] });
  }

  /** Towards zero, for numbers that are not negative. Exact below 2**51; what is NaN stays so. */
  truncate(value: Value): Value {
    if (this.abilities.truncates) return this.add({ kind: "truncate", operands: [value] });
    // From 2**52 on, doubles are integers: the sum is rounded to one, up or down. What went up comes down again.
    const shift = this.constant(2 ** 52);
    const rounded = this.binary("subtract", this.binary("add", value, shift), shift);
    const isAbove = this.compare(">", rounded, value);
    return this.add({ kind: "subtract-where", operands: [rounded, this.constant(1), isAbove] });
  }

  /** `value - step` where that is not negative, else `value`. Neither is negative; what is NaN stays so. */
  subtractOnce(value: Value, step: Value): Value {
    if (this.abilities.selectsBySign) return this.add({ kind: "subtract-once", operands: [value, step] });
    const isLarge = this.compare(">=", value, step);
    return this.add({ kind: "subtract-where", operands: [value, step, isLarge] });
  }

  /** Where the mask holds, the code is not exact. */
  doubt(mask: Value): void {
    this.#doubtful = this.#doubtful === undefined ? mask : this.binary("mask-or", this.#doubtful, mask);
  }

  finish(result: Value): VectorCode {
    return { operations: this.operations, result, doubtful: this.#doubtful };
  }
}
