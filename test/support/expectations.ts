/** What the tests expect of every operation, whether it does its work or refuses. */
import assert from "node:assert/strict";
import { JitError, type JitAllocator, type JitErrorCode } from "../../src/index.ts";

/** The codes of every error, for checks that an error is a typed one. */
export type ExpectedCode = JitErrorCode | readonly JitErrorCode[];

/** Passes a value of the wrong type, as a JavaScript caller could. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- T is what the callee asks for
export function wrong<T>(value: unknown): T {
  return value as T;
}

/** Asserts that `action` throws a JitError of that code (or one of those), and returns it. */
export function throwsJitError(expected: ExpectedCode, action: () => unknown, what = ""): JitError {
  const codes: readonly JitErrorCode[] = typeof expected === "string" ? [expected] : expected;
  const prefix = what === "" ? "" : `${what}: `;
  let result: unknown;
  try {
    result = action();
  } catch (error) {
    if (!(error instanceof JitError)) {
      throw new assert.AssertionError({
        message: `${prefix}expected a JitError ${codes.join(" or ")}, got ${describeError(error)}`,
        actual: error,
        expected: codes,
        operator: "throwsJitError",
      });
    }
    assert.ok(
      codes.includes(error.code),
      `${prefix}expected ${codes.join(" or ")}, got ${error.code}: ${error.message}`,
    );
    assert.ok(error.message.length > 0, `${prefix}the error has no message`);
    return error;
  }
  assert.fail(`${prefix}expected ${codes.join(" or ")}, but nothing was thrown (result: ${String(result)})`);
}

function describeError(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** All that can be seen of an allocator's state: its figures and every granule of every block. */
export function observe(allocator: JitAllocator): { statistics: unknown; blocks: unknown } {
  allocator.verify();
  // What the system holds is its own business: a page that is only read may be held from then on.
  const { residentSize, ...statistics } = allocator.statistics();
  assert.ok(residentSize <= statistics.reservedSize);
  return { statistics, blocks: sortedBlocks(allocator) };
}

/** The blocks in the order of their addresses: the order of `blocks()` itself is nobody's business. */
export function sortedBlocks(allocator: JitAllocator): ReturnType<JitAllocator["blocks"]> {
  return [...allocator.blocks()].sort((a, b) => a.rx - b.rx);
}

/** Asserts that `action`, whatever it does, leaves statistics, granules and invariants as they were. */
export function changesNothing<T>(allocator: JitAllocator, action: () => T, what = ""): T {
  const before = observe(allocator);
  const result = action();
  assert.deepEqual(observe(allocator), before, `${what}: something changed`);
  return result;
}

/** Asserts that `action` throws that code and changes nothing: the law every refusal obeys. */
export function refuses(
  allocator: JitAllocator,
  expected: ExpectedCode,
  action: () => unknown,
  what = "",
): JitError {
  return changesNothing(allocator, () => throwsJitError(expected, action, what), what);
}
