/**
 * What happens below a call of machine code and is thrown by the call: errors of callbacks, and callbacks that were called
 * after their release. And that the call has returned, where somebody waits for that.
 *
 * An error cannot pass through machine code. So a callback keeps the error that it threw, machine code gets 0 and goes on,
 * and the call that ran the machine code throws the error when it returns. If that call was itself made in a callback, the
 * error goes on from there as any error does: out of the callback, unless something catches it.
 *
 * One for each thread, since each thread has its own modules.
 */
import { callbacks, noteReturn } from "../base/callbacks.ts";
import { JitError, formatAddress } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";

/** Stands for the absence of an error, for any value can be thrown. */
const NONE: unique symbol = Symbol("none");

/**
 * What a call of machine code has to look at. Compilers treat a field that was never written as a constant, so a thread
 * without callbacks has nothing to look at.
 */
export const signals = {
  /** Whether this thread has ever made a callback. */
  mayCallBack: false,
  /** Whether there is something for a call of machine code to throw, or somebody waits for its return. */
  isRaised: false,
};

/** The first error that a callback threw below the running call of machine code. */
let pendingError: unknown = NONE;
/** The address of a callback that was called after its release. */
let releasedAddress: Address | undefined;

/** What {@link beginCallback} returns for {@link endCallback}. */
export type OuterError = unknown;

/** Called when a callback begins. Calls of machine code in it throw what is raised in it, and nothing from before. */
export function beginCallback(): OuterError {
  callbacks.depth++;
  if (!signals.isRaised) return NONE;
  const outer = pendingError;
  settle(NONE, releasedAddress);
  return outer;
}

/** Called when a callback ends. @param outer what {@link beginCallback} returned */
export function endCallback(outer: OuterError): void {
  callbacks.depth--;
  // Only the first error of a call is thrown: the later ones came of the zeros that it left.
  if (outer !== NONE) settle(outer, releasedAddress);
  else if (callbacks.isAwaited) settle(pendingError, releasedAddress);
}

/** Whether a callback of this thread is running, so that machine code is on the stack below it. */
export function isInCallback(): boolean {
  return callbacks.depth > 0;
}

/** Keeps the error of a callback until the machine code has returned. */
export function raise(error: unknown): void {
  if (pendingError === NONE) settle(error, releasedAddress);
}

/** Notes that a callback was called after its release: the next call of machine code throws that. */
export function raiseReleased(address: Address): void {
  settle(pendingError, releasedAddress ?? address);
}

/** Called before machine code runs, if something is raised. @throws whatever was raised outside of a call */
export function throwBeforeCall(): void {
  throwPending();
  if (releasedAddress === undefined) return;
  const address = releasedAddress;
  settle(pendingError, undefined);
  throw new JitError(
    "ERR_RELEASED",
    `Cannot go on calling code: code that ran before has called the callback at ${formatAddress(address)}, which was ` +
      "released, and got 0; release a callback when no code can call it any more",
  );
}

/** Called when machine code has returned, if something is raised. @throws the error of a callback, if that is it */
export function throwAfterCall(): void {
  if (callbacks.isAwaited && callbacks.depth === 0) {
    noteReturn();
    settle(pendingError, releasedAddress);
  }
  throwPending();
}

function throwPending(): void {
  if (pendingError === NONE) return;
  const error = pendingError;
  settle(NONE, releasedAddress);
  throw error;
}

function settle(error: unknown, released: Address | undefined): void {
  pendingError = error;
  releasedAddress = released;
  signals.isRaised = error !== NONE || released !== undefined || callbacks.isAwaited;
}
