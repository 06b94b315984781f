/** The routine that notes results, in JavaScript: it calls functions of a fake system by addresses that it gives them. */
import type { Address } from "../../src/ffi/contract.ts";
import type { Noting } from "../../src/vm/noter.ts";

const FIRST_ADDRESS = 0x1000;
const TWO_TO_32 = 2 ** 32;
/** Those whose results are addresses or handles; of the others' 32 bits count, and what stands above them is anything. */
const WIDE = ["mmap", "VirtualAlloc", "MapViewOfFile", "CreateFileMappingW"];
const ANYTHING = 0x5a5a;

/**
 * A system that has the routine.
 * @param functions their names
 * @param around what is done around each call; the result is noted inside
 */
export function fakeNoting(
  functions: readonly string[],
  system: object,
  around: <T>(act: () => T) => T = (act) => act(),
): Noting<unknown> {
  const apply = (name: string, args: readonly unknown[]): unknown => {
    const found: unknown = Reflect.get(system, name, system);
    if (typeof found !== "function") throw new Error(`the fake system has no ${name}`);
    return Reflect.apply(found, system, args);
  };
  const call = (result: Int32Array, target: Address, ...args: readonly unknown[]): number =>
    around(() => {
      const name = functions[target - FIRST_ADDRESS] ?? "";
      const value = Number(apply(name, args));
      const high = Math.floor(value / TWO_TO_32);
      result.set([value - high * TWO_TO_32, WIDE.includes(name) ? high : ANYTHING]);
      return value;
    });
  return {
    make: () => FIRST_ADDRESS - 1,
    bind: () => ({
      call,
      callWithBytes: (result, target, bytes, ...rest) =>
        call(result, target, new TextDecoder().decode(bytes).replace(/\0$/, ""), ...rest),
      find: (symbol) => (functions.includes(symbol) ? FIRST_ADDRESS + functions.indexOf(symbol) : 0),
      errno: () => Number(apply("errno", [])),
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
