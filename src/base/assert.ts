/**
 * Assertions state what the code relies on. Each names the invariant behind it, which `verify()` checks
 * (docs/invariants.md). Tests and fuzzers run with them. The published library has none: `scripts/strip-assertions.js`
 * removes every statement `assert(…);`, so the arguments must have no side effects.
 */

/**
 * Throws where an invariant does not hold: a fault of this library, never of its user.
 *
 * @param invariant its number in docs/invariants.md; 0 = a condition that the function itself has just established
 * @throws Error which is no JitError, so that no caller takes it for a refusal
 */
export function assert(holds: boolean, invariant: number, what: string): asserts holds {
  if (!holds) throw new Error(`invariant ${invariant} is broken: ${what}`);
}
