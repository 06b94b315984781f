/**
 * What the code relies on, said where it relies on it: each assertion rests on an invariant that `verify()` checks
 * (docs/invariants.md), and names it. Tests and fuzzers run with them. The published library has none:
 * `scripts/strip-assertions.js` takes out every statement `assert(…);`, so that what stands in one must change nothing.
 */

/**
 * Throws where an invariant does not hold: a fault of this library, never of its user.
 *
 * @param invariant its number in docs/invariants.md; 0 = what the function itself has just made sure of
 * @throws Error which is no JitError, so that no caller takes it for a refusal
 */
export function assert(holds: boolean, invariant: number, what: string): asserts holds {
  if (!holds) throw new Error(`invariant ${invariant} is broken: ${what}`);
}
