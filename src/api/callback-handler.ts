/** What machine code calls through a callback: converts and checks, and lets no error into the machine code. */
import { argumentNames, compile } from "../base/generated.ts";
import { needStack } from "../base/stack.ts";
import type { NativeFunction } from "../ffi/contract.ts";
import type { CallbackSlot, MakeHandler } from "../link/callback-slots.ts";
import { beginCallback, endCallback, raise, raiseReleased } from "../link/signals.ts";
import { resultCheck, SHORTCUTS } from "./argument-checks.ts";
import { receivedConversion, type ValueSignature, type ValueType } from "./value-types.ts";

/** What machine code gets where a callback has no result to give. */
function zeroOf(result: ValueType): 0 | 0n | undefined {
  if (result === "void") return undefined;
  return result === "i64" || result === "u64" ? 0n : 0;
}

/**
 * Compiles the function that the slots of a signature call. For two parameters and the result i32 it is:
 *
 * ```text
 * return (slot) => (a0, a1) => {
 *   try { needStack(); } catch (error) { raise(error); return zero; }
 *   const { callback } = slot;
 *   if (callback === undefined) { raiseReleased(slot.address); return zero; }
 *   const outer = beginCallback();
 *   try {
 *     const result = callback(a0, a1);
 *     if (!(typeof result === "number" && (result | 0) === result)) check(result);
 *     return result;
 *   } catch (error) {
 *     raise(error);
 *     return zero;
 *   } finally {
 *     endCallback(outer);
 *   }
 * };
 * ```
 *
 * The stack is checked first, so that what keeps count of the callbacks cannot be cut off half way.
 */
export function makeHandlers({ parameters, result }: ValueSignature): MakeHandler {
  const zero = zeroOf(result);
  const check = result === "void" ? undefined : resultCheck(result);
  const names = argumentNames(parameters.length);
  const list = names.join(", ");
  const receives = parameters.map(receivedConversion);
  const values = names
    .map((name, index) => (receives[index] === undefined ? name : `receives[${index}](${name})`))
    .join(", ");
  const shortcut = SHORTCUTS[result]?.("result");
  const checked =
    check === undefined ? "" : `${shortcut === undefined ? "" : `if (!(${shortcut})) `}check(result);`;
  const make = compile<(...values: unknown[]) => MakeHandler>(
    [
      ...["zero", "check", "receives", "needStack"],
      ...["beginCallback", "endCallback", "raise", "raiseReleased"],
    ],
    `return (slot) => (${list}) => {
      try { needStack(); } catch (error) { raise(error); return zero; }
      const { callback } = slot;
      if (callback === undefined) { raiseReleased(slot.address); return zero; }
      const outer = beginCallback();
      try {
        const result = callback(${values});
        ${checked}
        return ${result === "void" ? "undefined" : "result"};
      } catch (error) {
        raise(error);
        return zero;
      } finally {
        endCallback(outer);
      }
    };`,
  );
  if (make === undefined) return (slot) => handleSlowly(slot, zero, check, receives);
  return make(zero, check, receives, needStack, beginCallback, endCallback, raise, raiseReleased);
}

/** {@link makeHandlers} where the process may not compile text. */
function handleSlowly(
  slot: CallbackSlot,
  zero: unknown,
  check: ((value: unknown) => void) | undefined,
  receives: readonly (((value: unknown) => unknown) | undefined)[],
): NativeFunction {
  return (...args) => {
    try {
      needStack();
    } catch (error) {
      raise(error);
      return zero;
    }
    const { callback } = slot;
    if (callback === undefined) {
      raiseReleased(slot.address);
      return zero;
    }
    const outer = beginCallback();
    try {
      const values = args.map((value, index) => {
        const receive = receives[index];
        return receive === undefined ? value : receive(value);
      });
      const result = callback(...values);
      check?.(result);
      return check === undefined ? undefined : result;
    } catch (error) {
      raise(error);
      return zero;
    } finally {
      endCallback(outer);
    }
  };
}
