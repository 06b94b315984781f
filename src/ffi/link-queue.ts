/**
 * Decides when to make fast functions, where making one takes as long as hundreds of calls.
 *
 * Each function is called by its address at first. A function whose calls have cost as much as making it fast gets a fast
 * one. All functions that are on the way there get theirs in the same batch, because most of the cost is paid once for a
 * batch. So no program pays more than twice the cost of the best choice.
 */
import type { Address, NativeCallable, NativeFunction, NativeSignature } from "./contract.ts";

/** The code that a function calls. */
export interface LinkTarget {
  readonly address: Address;
  readonly signature: NativeSignature;
}

/** The functions that call code at an address. */
export interface LinkedFunctions {
  /** The code must not call back into JavaScript. */
  readonly fast: NativeFunction;
  /** The code may call back into JavaScript. Absent where nothing is faster than the call by address. */
  readonly reentrant?: NativeFunction;
}

/** Makes fast functions of addresses, many at once. */
export interface Linker {
  /** The number of calls by address that take as long as making one fast function. */
  readonly worthCalls: number;
  /** Whether {@link link} makes functions for code that may call back. */
  readonly makesReentrant: boolean;
  /** Makes the functions of each target; undefined where that cannot be done. Never throws. */
  link(targets: readonly LinkTarget[]): readonly LinkedFunctions[] | undefined;
}

/** A function is on the way once it has had this part of {@link Linker.worthCalls}. */
const ON_THE_WAY = 1 / 4;
/**
 * This many functions on the way are linked even if none of them is called any more. Otherwise a program that makes one
 * function after the other, and calls each a hundred times, would have them all kept here.
 */
const LARGEST_BATCH = 64;

/** The functions of one thread that are not fast yet. */
export class LinkQueue {
  readonly linker: Linker;
  #waiting = new Set<Tiered>();

  constructor(linker: Linker) {
    this.linker = linker;
  }

  /** A function that calls `slow`, which may call back into JavaScript, until there is a fast one. */
  callable(slow: NativeFunction, target: LinkTarget): NativeCallable {
    return new Tiered(this, slow, target);
  }

  /** Called when a function gets on the way, and again (`isDue`) when it has been called often enough to be made fast. */
  add(tiered: Tiered, isDue: boolean): void {
    this.#waiting.add(tiered);
    if (!isDue && this.#waiting.size < LARGEST_BATCH) return;
    const batch = [...this.#waiting];
    this.#waiting = new Set();
    const functions = this.linker.link(batch.map(({ target }) => target));
    for (const [index, each] of batch.entries()) each.become(functions?.[index]);
  }

  remove(tiered: Tiered): void {
    this.#waiting.delete(tiered);
  }
}

class Tiered implements NativeCallable {
  readonly target: LinkTarget;
  /** Only declared, so that the property is absent until it is written: {@link NativeCallable.fast} says why. */
  declare fast?: NativeFunction;
  readonly #queue: LinkQueue;
  #callCount = 0;
  readonly call: NativeFunction;
  reentrant: NativeFunction;

  constructor(queue: LinkQueue, slow: NativeFunction, target: LinkTarget) {
    this.#queue = queue;
    this.target = target;
    this.call = (...args) => {
      if (this.fast !== undefined) return this.fast(...args);
      this.#count();
      return slow(...args);
    };
    this.reentrant = queue.linker.makesReentrant
      ? (...args) => {
          this.#count();
          return slow(...args);
        }
      : slow;
  }

  /** Takes the fast function. If none could be made, the calls are counted anew, and it is tried again after as many. */
  become(linked: LinkedFunctions | undefined): void {
    if (linked !== undefined) this.fast = linked.fast;
    if (linked?.reentrant !== undefined) this.reentrant = linked.reentrant;
    this.#callCount = 0;
  }

  close(): void {
    this.#queue.remove(this);
  }

  #count(): void {
    const { worthCalls } = this.#queue.linker;
    this.#callCount++;
    if (this.#callCount === worthCalls * ON_THE_WAY) this.#queue.add(this, false);
    else if (this.#callCount === worthCalls) this.#queue.add(this, true);
  }
}
