/**
 * Functions from text. Optimizing compilers remember what a call does by its place in the program, so a place that
 * all functions share is a place where nothing is remembered: code that is made for one signature, or for one
 * function, is called several times as fast as a closure that serves them all. Only text from this library's own
 * tables gets here, never any of a user's.
 */

/** Whether this process lets programs make functions from text (`--disallow-code-generation-from-strings` forbids it). */
let isAllowed = true;

/**
 * Compiles `body` as a function of `parameters`, in strict mode; undefined where the process does not allow it.
 * Whoever calls has another, slower way to do the same.
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
 * So many texts have their function at hand. A program has some dozens of signatures; one that makes them without end (a
 * fuzzer, a binding generator) must not find all of them kept, at some 3 KB each.
 */
const MOST_KEPT = 512;

/** What was made of a text, kept for the next time, as making it takes some ten microseconds. */
export class GeneratedCache<V> {
  readonly #made = new Map<string, V>();

  /** What `make` makes for `key`: now, or the last time. */
  get(key: string, make: () => V): V {
    const known = this.#made.get(key);
    if (known !== undefined || this.#made.has(key)) return known as V;
    // All at once: to know which one was used last would cost every look.
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
