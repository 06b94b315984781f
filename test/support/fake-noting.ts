/** The routine that notes results, in JavaScript: it calls the functions of a fake system by addresses that it gives them. */
import type { Noting } from "../../src/vm/noter.ts";
import type { Address } from "../../src/ffi/contract.ts";

/** The functions of a fake system, by their names. */
export type FakeFunctions = Readonly<Record<string, (...args: never[]) => number>>;

const FIRST_ADDRESS = 0x1000;
const TWO_TO_32 = 2 ** 32;

/** A system that has the routine, whose functions are `functions`. */
export function fakeNoting<System>(functions: FakeFunctions): Noting<System> {
  const names = Object.keys(functions);
  const call = (result: Int32Array, target: Address, ...args: readonly (number | string)[]): number => {
    const name = names[target - FIRST_ADDRESS] ?? "";
    const value = functions[name]?.(...(args as never[])) ?? Number.NaN;
    const high = Math.floor(value / TWO_TO_32);
    // What stands above an integer of 32 bits has no meaning.
    result.set([value - high * TWO_TO_32, Math.abs(value) < 100_000 ? high ^ 0x5a5a : high]);
    return value;
  };
  return {
    make: () => FIRST_ADDRESS - 1,
    bind: () => ({
      call,
      callWithBytes: (result, target, bytes, ...rest) =>
        call(result, target, new TextDecoder().decode(bytes).replace(/\0$/, ""), ...rest),
      find: (symbol) => (symbol in functions ? FIRST_ADDRESS + names.indexOf(symbol) : 0),
      errno: () => functions["errno"]?.() ?? 0,
    }),
  };
}

/** A system that has none: JavaScript notes results. */
export const WITHOUT_ROUTINE: Noting<unknown> = {
  make: () => 0,
  bind: () => {
    throw new Error("there is no routine to bind");
  },
};
