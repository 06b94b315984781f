/**
 * When to make fast functions, where making one takes as long as hundreds of calls.
 *
 * Each function is called by its address at first. One that has been called so often that a fast one would have paid
 * by now gets it, and with it, in one go, all those that are on the way there: what is paid only once for a batch is
 * most of the cost. So nobody pays more than twice what the best choice would have cost, whatever the program does.
 */
import type { Address, NativeCallable, NativeFunction, NativeSignature } from "./contract.ts";

/** Where a function leads. */
export interface LinkTarget {
  readonly address: Address;
  readonly signature: NativeSignature;
}

/** Makes fast functions of addresses, many at once. */
export interface Linker {
  /** How many calls by address take as long as making one fast function. */
  readonly worthCalls: number;
  /** One function for each target, or undefined where it cannot be done. Never throws. */
  link(targets: readonly LinkTarget[]): readonly NativeFunction[] | undefined;
}

/** A function is on the way when it has been called this part of the calls that make it fast. */
const ON_THE_WAY = 1 / 4;
/**
 * So many functions that are on the way are linked even if none of them gets any further: a program that makes one
 * function after the other, and calls each a hundred times, must not find them all kept here.
 */
const LARGEST_BATCH = 64;

/** The functions of one thread that are not fast yet. */
export class LinkQueue {
  readonly linker: Linker;
  #waiting = new Set<Tiered>();

  constructor(linker: Linker) {
    this.linker = linker;
  }

  /** A function that `slow` calls, until there is a fast one. */
  callable(slow: NativeFunction, target: LinkTarget): NativeCallable {
    return new Tiered(this, slow, target);
  }

  /** Called when a function gets on the way, and when it has been called often enough. */
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
  /** Declared, and so not made until it is written: {@link NativeCallable.fast} has the reason. */
  declare fast?: NativeFunction;
  readonly #queue: LinkQueue;
  #callCount = 0;
  readonly call: NativeFunction;

  constructor(queue: LinkQueue, slow: NativeFunction, target: LinkTarget) {
    this.#queue = queue;
    this.target = target;
    this.call = (...args) => {
      if (this.fast !== undefined) return this.fast(...args);
      this.#count();
      return slow(...args);
    };
  }

  /** Where nothing could be made, the function counts its calls anew, and tries again as many calls later. */
  become(fast: NativeFunction | undefined): void {
    if (fast !== undefined) this.fast = fast;
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
