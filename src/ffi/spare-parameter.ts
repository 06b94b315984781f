/**
 * Makes up for an error of koffi (3.3.4) on AArch64: a callback reads its arguments on the stack 8 bytes too low, so that
 * each gets its predecessor, and the first one the return address. A spare parameter before the first on the stack takes
 * that place, and is dropped.
 */
import type { NativeFunction, NativeType } from "./contract.ts";

/** AArch64 passes so many integers in registers, and as many floating-point numbers. */
const REGISTER_COUNT = 8;

/** The parameters with a spare one before the first that is on the stack; its index is undefined where none is. */
export function withSpareParameter(parameters: readonly NativeType[]): {
  readonly parameters: readonly NativeType[];
  readonly index: number | undefined;
} {
  const used = { floats: 0, integers: 0 };
  const index = parameters.findIndex((type) => ++used[kindOf(type)] > REGISTER_COUNT);
  const first = parameters[index];
  if (first === undefined) return { parameters, index: undefined };
  // Of the kind whose registers are used up, so that it is on the stack too.
  const spare = kindOf(first) === "floats" ? "f64" : "i64";
  return { parameters: parameters.toSpliced(index, 0, spare), index };
}

/** `call` without the argument of that index. */
export function dropping(index: number, call: NativeFunction): NativeFunction {
  return (...args) => call(...args.toSpliced(index, 1));
}

function kindOf(type: NativeType): "floats" | "integers" {
  return type === "f32" || type === "f64" ? "floats" : "integers";
}
