/**
 * Makes functions from text. Optimizing compilers keep an inline cache for each call site, and one that all functions
 * share is megamorphic. So code made for one signature, or for one function, is called several times as fast as a closure
 * that serves all of them. The text comes from this library's own tables alone, never from a user.
 */

/** Whether this process lets programs make functions from text (`--disallow-code-generation-from-strings` forbids it). */
let isAllowed = true;

/**
 * Compiles `body` as a function of `parameters`, in strict mode; undefined where the process does not allow it.
 * Every caller has another, slower way to do the same.
 */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller knows what its text is
export function compile<F extends (...values: never[]) => unknown>(
  parameters: readonly string[],
  body: string,
): F | undefined {
  if (!isAllowed) return undefined;
  try {
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- what this file is for; see above
    return new Function(...parameters, `"use strict"; ${body}`) as F;
  } catch (error) {
    // Node and Deno throw an EvalError; any other error is a fault in `body`.
    if (!(error instanceof EvalError)) throw error;
    isAllowed = false;
    return undefined;
  }
}

/**
 * The most functions that are kept. A program has some dozens of signatures; one that makes them without end (a fuzzer, a
 * binding generator) must not keep all of them in memory, at some 3 KB each.
 */
const MOST_KEPT = 512;

/** Caches the functions made from texts, because making one takes some ten microseconds. */
export class GeneratedCache<V> {
  readonly #made = new Map<string, V>();

  /** Returns the cached value for `key`, or the one that `make` makes now. */
  get(key: string, make: () => V): V {
    const known = this.#made.get(key);
    if (known !== undefined || this.#made.has(key)) return known as V;
    // Emptied all at once: to track the least recently used would make every look-up cost more.
    if (this.#made.size >= MOST_KEPT) this.#made.clear();
    const made = make();
    this.#made.set(key, made);
    return made;
  }
}

/** `a0`, `a1` … : names for the arguments of generated functions. */
export function argumentNames(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `a${index}`);
}
