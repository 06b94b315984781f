/**
 * The machine code of callbacks: slots, each of which can call one function of TypeScript after the other.
 *
 * 1. A slot is made by the foreign function interface for one signature, which takes 1 to 60 µs.
 * 2. It is taken: machine code that calls its address calls a function.
 * 3. It is given back. Its machine code stays, and returns 0: whatever still has the address finds no other function there.
 * 4. It is taken again when {@link LEAST_IDLE} others of its signature have been given back after it; or it is closed, when
 *    the thread has {@link MOST_IDLE} that nobody uses, or the interface has no more. A callback that makes a callback may
 *    take it sooner: some interfaces make no slot then, so {@link SPARE} of each signature are made ahead.
 */
import { JitError } from "../base/errors.ts";
import type { Address, Ffi, CallbackCode, NativeFunction, NativeSignature } from "../ffi/contract.ts";
import { isMainThread } from "../base/unique.ts";
import { isInCallback } from "./signals.ts";

/** So many slots of a signature stay unused, so that a call of a released callback is noticed for a while. */
const LEAST_IDLE = 64;
/** The most unused slots of a thread, of all signatures: an eighth of what koffi can make. */
const MOST_IDLE = 1024;

/** The slots of a signature that are made ahead where none can be made in a callback. Each takes koffi 0.7 µs. */
const SPARE = 16;

/** Machine code that calls a function. */
export class CallbackSlot {
  /** The function; undefined while nobody uses the slot. */
  callback: NativeFunction | undefined;
  /** Where the machine code begins. */
  address: Address = 0;
  readonly pool: CallbackSlots;
  #native: CallbackCode | undefined;

  constructor(pool: CallbackSlots) {
    this.pool = pool;
  }

  /** Makes the machine code, which calls `handler`. */
  open(ffi: CallbackMaker, handler: NativeFunction, signature: NativeSignature): void {
    this.#native = ffi.callback(handler, signature);
    this.address = this.#native.address;
  }

  close(): void {
    this.#native?.close();
  }
}

/** The slots of this thread that nobody uses, from the oldest on. */
const idleSlots = new Set<CallbackSlot>();

/** What slots are made with. */
type CallbackMaker = Pick<Ffi, "callback" | "makesCallbacksOutsideOnly">;

/** Makes the function that a slot's machine code calls. It calls `slot.callback` and throws nothing. */
export type MakeHandler = (slot: CallbackSlot) => NativeFunction;

/** The slots of one signature in one thread. */
export class CallbackSlots {
  readonly #ffi: CallbackMaker;
  readonly #signature: NativeSignature;
  readonly #makeHandler: MakeHandler;
  /** From the oldest on. */
  readonly #idle = new Set<CallbackSlot>();

  constructor(ffi: CallbackMaker, signature: NativeSignature, makeHandler: MakeHandler) {
    this.#ffi = ffi;
    this.#signature = signature;
    this.#makeHandler = makeHandler;
  }

  /**
   * A slot that calls `callback`.
   * @throws JitError `ERR_TOO_MANY_HANDLES` where the interface has no more; `ERR_FEATURE_NOT_ENABLED`
   */
  take(callback: NativeFunction): CallbackSlot {
    const slot = this.#takeFree();
    slot.callback = callback;
    return slot;
  }

  #takeFree(): CallbackSlot {
    if (this.#ffi.makesCallbacksOutsideOnly === true) {
      if (isInCallback()) return this.#takeIdle() ?? this.#refuse();
      this.#makeSpare();
    }
    if (this.#idle.size > LEAST_IDLE) return this.#takeIdle() ?? this.#make();
    try {
      return this.#make();
    } catch (error) {
      if (!isTooMany(error)) throw error;
      const idle = this.#takeIdle();
      if (idle !== undefined) return idle;
      if (!closeOldest()) throw error;
      return this.#make();
    }
  }

  #makeSpare(): void {
    closeAtEnd();
    try {
      while (this.#idle.size < SPARE) this.give(this.#make());
    } catch (error) {
      // A callback needs one slot: it goes without spare ones.
      if (!isTooMany(error)) throw error;
    }
  }

  #refuse(): never {
    throw new JitError(
      "ERR_FEATURE_NOT_ENABLED",
      `Cannot make a callback while a callback runs: the foreign function interface cannot, and the ${SPARE} that were made ` +
        "ahead for each signature that a callback was made of before are in use; make it before the machine code is called",
    );
  }

  /** Gives a slot back: its machine code returns 0 from now on. */
  give(slot: CallbackSlot): void {
    slot.callback = undefined;
    this.#idle.add(slot);
    idleSlots.add(slot);
    if (idleSlots.size > MOST_IDLE) closeOldest();
  }

  /** Drops a slot that is about to be closed. */
  forget(slot: CallbackSlot): void {
    this.#idle.delete(slot);
  }

  #takeIdle(): CallbackSlot | undefined {
    const [slot] = this.#idle;
    if (slot === undefined) return undefined;
    this.#idle.delete(slot);
    idleSlots.delete(slot);
    return slot;
  }

  #make(): CallbackSlot {
    const slot = new CallbackSlot(this);
    slot.open(this.#ffi, this.#makeHandler(slot), this.#signature);
    return slot;
  }
}

/** Closes the slot that has been unused for longest. Returns false where there is none, or where it may be running. */
function closeOldest(): boolean {
  const [slot] = idleSlots;
  // A callback that released itself still returns through its slot.
  if (slot === undefined || isInCallback()) return false;
  slot.pool.forget(slot);
  idleSlots.delete(slot);
  slot.close();
  return true;
}

let isClosedAtEnd = false;

/**
 * Has the unused slots of a worker closed when it ends: koffi counts them for the process, and keeps them otherwise (3.3.4).
 * A worker that is terminated has no such moment, and what is in use is the program's to release.
 */
function closeAtEnd(): void {
  if (isClosedAtEnd || isMainThread()) return;
  isClosedAtEnd = true;
  process.once("exit", () => {
    while (closeOldest());
  });
}

function isTooMany(error: unknown): boolean {
  return error instanceof JitError && error.code === "ERR_TOO_MANY_HANDLES";
}
