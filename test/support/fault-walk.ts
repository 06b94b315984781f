/** Every native call of an operation, made to fail at each position: nothing may be left, and it must work again. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import type { VirtualMemory } from "../../src/vm/contract.ts";
import type { FakeCalls } from "./fake-calls.ts";

/** A fake machine, and the memory on it. */
export interface FakeSystem {
  readonly calls: FakeCalls<string>;
  readonly memory: VirtualMemory;
  /** All that a clean process must not have, as text. */
  leftovers(): string[];
  /** Every mapping that was writable and executable, if only for a moment. */
  readonly writableCode: readonly unknown[];
}

/** One operation of a {@link VirtualMemory}. */
export interface Operation {
  readonly name: string;
  readonly start: () => FakeSystem;
  /** What each of its errors says. */
  readonly says?: RegExp;
  /** Made before anything fails. */
  readonly prepare?: (memory: VirtualMemory) => unknown;
  readonly run: (memory: VirtualMemory, prepared: unknown) => unknown;
  /** Undoes what `prepare` and `run` made. */
  readonly undo?: (memory: VirtualMemory, result: unknown, prepared: unknown) => void;
}

/** @param codesOf the codes that a call of that name can fail with. */
export function walkFaults(operation: Operation, codesOf: (call: string) => readonly number[]): void {
  const { prepare, run, undo } = operation;
  const begin = (): { system: FakeSystem; prepared: unknown } => {
    const system = operation.start();
    return { system, prepared: prepare?.(system.memory) };
  };

  describe(`${operation.name}, failing at each call`, () => {
    const whole = begin();
    const firstCall = whole.system.calls.names.length;
    run(whole.system.memory, whole.prepared);
    const calls = whole.system.calls.names.slice(firstCall);

    it("makes native calls", () => assert.notEqual(calls.length, 0));

    for (const [position, call] of calls.entries()) {
      it(`${call} (call ${position + 1} of ${calls.length})`, () => {
        for (const code of codesOf(call)) {
          const { system, prepared } = begin();
          const before = system.leftovers();
          system.calls.failAt(position, code);
          let result: unknown;
          try {
            result = run(system.memory, prepared);
          } catch (error) {
            assert.ok(error instanceof JitError, `${code}: ${String(error)}`);
            assert.equal(error.syscall, call);
            assert.equal(error.errno, code);
            assert.match(error.message, /^Cannot .* failed with .+ \(\d+\)/);
            if (operation.says !== undefined) assert.match(error.message, operation.says);
            const after = system.leftovers();
            const isPart = after.every((text) => before.includes(text));
            assert.ok(isPart, `code ${code} left ${after.join(", ")}, and before was ${before.join(", ")}`);
            // The failure was a moment's: the same works now.
            result = run(system.memory, prepared);
          }
          undo?.(system.memory, result, prepared);
          assert.deepEqual(system.leftovers(), [], `after code ${code}`);
          assert.deepEqual(system.writableCode, []);
        }
      });
    }
  });
}
