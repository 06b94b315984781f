/** What machine code calls through a callback: converts and checks, and lets no error into the machine code. */
import { argumentNames, compile } from "../base/generated.ts";
import { isTypedArray } from "../base/intrinsics.ts";
import { needStack } from "../base/stack.ts";
import type { NativeFunction, NativeType } from "../ffi/contract.ts";
import type { CallbackSlot, MakeHandler } from "../link/callback-slots.ts";
import { beginCallback, endCallback, raise, raiseReleased } from "../link/signals.ts";
import { resultCheck, SHORTCUTS } from "./argument-checks.ts";
import type { CheckedSignature } from "./signature.ts";

/** What machine code gets where a callback has no result to give. */
function zeroOf(result: NativeType): 0 | 0n | undefined {
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
export function makeHandlers({ parameters, result }: CheckedSignature): MakeHandler {
  const zero = zeroOf(result);
  const check = result === "void" ? undefined : resultCheck(result);
  const list = argumentNames(parameters.length).join(", ");
  const shortcut = SHORTCUTS[result]?.("result");
  const checked =
    check === undefined ? "" : `${shortcut === undefined ? "" : `if (!(${shortcut})) `}check(result);`;
  const make = compile<(...values: unknown[]) => MakeHandler>(
    ["zero", "check", "isTypedArray", "needStack", "beginCallback", "endCallback", "raise", "raiseReleased"],
    `return (slot) => (${list}) => {
      try { needStack(); } catch (error) { raise(error); return zero; }
      const { callback } = slot;
      if (callback === undefined) { raiseReleased(slot.address); return zero; }
      const outer = beginCallback();
      try {
        const result = callback(${list});
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
  if (make === undefined) return (slot) => handleSlowly(slot, zero, check);
  return make(zero, check, isTypedArray, needStack, beginCallback, endCallback, raise, raiseReleased);
}

/** {@link makeHandlers} where the process may not compile text. */
function handleSlowly(
  slot: CallbackSlot,
  zero: unknown,
  check: ((value: unknown) => void) | undefined,
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
      const result = callback(...args);
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
