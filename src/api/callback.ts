/** Makes functions of TypeScript callable from machine code. */
import { refuseValue } from "../engine/refusals.ts";
import { JitError, formatAddress } from "../base/errors.ts";
import { needMuchStack } from "../base/stack.ts";
import type { Address, NativeFunction } from "../ffi/contract.ts";
import { systemFfi } from "../ffi/select.ts";
import { CallbackSlots, type CallbackSlot } from "../link/callback-slots.ts";
import { signals } from "../link/signals.ts";
import { makeHandlers } from "./callback-handler.ts";
import {
  SignatureTable,
  type CallbackArguments,
  type CallbackSignature,
  type NativeValues,
} from "./signature.ts";
import { callbackSignature } from "./value-types.ts";

/** A function of TypeScript that machine code can call, until it is released. */
export interface NativeCallback extends Disposable {
  /** Where machine code calls it. */
  readonly address: Address;
  /** Whether it was released. */
  readonly isReleased: boolean;
  /**
   * Ends the callback. The machine code at its address stays for now and returns 0; the next call by `toFunction` after it
   * has run throws `ERR_RELEASED`. A callback may release itself.
   * @throws JitError `ERR_RELEASED` where it was released before
   */
  release(): void;
  /** The end of a `using` block: {@link release} if it was not released. */
  [Symbol.dispose](): void;
}

/** The slots of this thread for each signature. */
const slotsOf = new SignatureTable<CallbackSlots>((checked) => {
  if (checked.result === "cstring") {
    throw refuseValue(
      "make a callback with result",
      checked.result,
      "nobody would own the string; return a pointer",
    );
  }
  return new CallbackSlots(systemFfi(), callbackSignature(checked), makeHandlers(checked));
});

class Callback implements NativeCallback {
  readonly address: Address;
  #slot: CallbackSlot | undefined;

  constructor(slot: CallbackSlot) {
    this.#slot = slot;
    this.address = slot.address;
  }

  get isReleased(): boolean {
    return this.#slot === undefined;
  }

  release(): void {
    if (this.#slot === undefined) {
      throw new JitError(
        "ERR_RELEASED",
        `Cannot release the callback at ${formatAddress(this.address)}: it was released before`,
      );
    }
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    const slot = this.#slot;
    this.#slot = undefined;
    slot?.pool.give(slot);
  }
}

/**
 * Makes a function of TypeScript callable from machine code, by the platform's C calling convention.
 *
 * - It may do anything: call machine code again, to any depth, allocate, write, release, also itself. The memory of what is
 *   released, which may be running, is used again when the outermost call by `toFunction` has returned.
 * - What it throws, and a result that has not its type, does not pass through the machine code. That gets 0 and goes on;
 *   when it has returned, the call by `toFunction` that ran it throws that very error. Of several errors below one call the
 *   first is thrown.
 * - It lives until it is released, since nothing tells when machine code has forgotten its address.
 * - Only the thread that made it may call it. Other threads crash, or wait for this one.
 * - Machine code has addresses: a `buffer` or `buffer?` comes as one, a `cstring` as its text, or null.
 *
 * @param callback the function
 * @param signature the types of its parameters and of its result; see {@link CallbackSignature}
 * @throws JitError `ERR_INVALID_ARGUMENT` for what is no function, or no signature; `ERR_TOO_MANY_HANDLES` where the
 *   process has as many callbacks as it can (with koffi 8,192, in all threads together); `ERR_FEATURE_NOT_ENABLED` where
 *   none can be made
 * @example
 * ```ts
 * using callback = toPointer((a, b) => a - b, { parameters: ["i32", "i32"], result: "i32" });
 * callback.address; // for machine code, as the operand of a call
 * ```
 */
export function toPointer<const S extends CallbackSignature>(
  callback: (...args: CallbackArguments<S["parameters"]>) => NativeValues[S["result"]],
  signature: S,
): NativeCallback {
  if (typeof callback !== "function") {
    throw refuseValue("make a callback of", callback, "it must be a function, which machine code will call");
  }
  needMuchStack();
  const slots = slotsOf.of(signature);
  // The function converts nothing: its arguments and its result have the types of the signature.
  const slot = slots.take(callback as NativeFunction);
  signals.mayCallBack = true;
  return new Callback(slot);
}
