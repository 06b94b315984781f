/** Counts the calls of a simulated machine's operations, and makes those fail that a test wants to fail. */
import { JitError } from "../../base/errors.ts";
import type { JitErrorCode } from "../../base/errors.ts";

interface Fault<Operation> {
  readonly operation: Operation | "any";
  remainingCalls: number;
  readonly code: JitErrorCode;
}

/** The calls of one machine, and the faults that are still to happen. */
export class Faults<Operation extends string> {
  /** How often each operation was called, failed calls included. */
  readonly calls: Readonly<Record<Operation, number>>;
  readonly #calls: Record<Operation, number>;
  readonly #faults: Fault<Operation>[] = [];

  /** @param calls a zero for each operation */
  constructor(calls: Record<Operation, number>) {
    this.#calls = calls;
    this.calls = calls;
  }

  /** Makes a call fail after `successes` calls of that operation, or of any. */
  failAfter(operation: Operation | "any", successes: number, code: JitErrorCode): void {
    this.#faults.push({ operation, remainingCalls: successes, code });
  }

  /** Removes the faults that have not happened yet, and returns their number. */
  clear(): number {
    return this.#faults.splice(0).length;
  }

  /** Counts the call, and lets the first fault that is due happen. */
  enter(operation: Operation, syscall: string): void {
    this.#calls[operation]++;
    let due: Fault<Operation> | undefined;
    for (const fault of this.#faults) {
      if (fault.operation !== "any" && fault.operation !== operation) continue;
      if (fault.remainingCalls === 0) due ??= fault;
      else fault.remainingCalls--;
    }
    if (due === undefined) return;
    this.#faults.splice(this.#faults.indexOf(due), 1);
    // 0 is the number of no error on any real system.
    throw new JitError(due.code, `Cannot ${operation}: the simulated machine was told to fail`, {
      syscall,
      errno: 0,
    });
  }
}
