/** Helpers of all systems: words for access, and attempts that may fail. */
import { JitError } from "../base/errors.ts";
import type { HardenedRuntimeInfo, MemoryFlags, ProbeStep, VirtualMemory } from "./contract.ts";

/** `read, execute`, for messages. */
export function describeAccess({ read, write, execute }: MemoryFlags): string {
  const access = [
    read === true ? "read" : "",
    write === true ? "write" : "",
    execute === true ? "execute" : "",
  ];
  return access.filter((word) => word !== "").join(", ") || "no access";
}

/** What `make` returns; undefined where the system refuses. The reason is dropped: the probe reports it. */
export function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof JitError) return undefined;
    throw error;
  }
}

/**
 * Wraps a call so that it is made once more where the foreign function interface refused to make it. For calls that give
 * something back (`munmap`, `close`) or must come before one (`VirtualQuery`): nothing else can undo what they are to
 * undo. A refusal of the system itself is a result, not an error, and is not repeated.
 */
export function insisting<A extends readonly unknown[], R>(call: (...args: A) => R): (...args: A) => R {
  return (...args) => {
    try {
      return call(...args);
    } catch (error) {
      if (!(error instanceof JitError)) throw error;
      return call(...args);
    }
  };
}

/** What a system without MAP_JIT memory allows. Each thing is tried and undone. */
export function tryHardening(memory: VirtualMemory): HardenedRuntimeInfo {
  const { pageGranularity } = memory.info();
  const writableCode = attempt(() =>
    memory.alloc(pageGranularity, { read: true, write: true, execute: true }),
  );
  if (writableCode !== undefined) memory.release(writableCode, pageGranularity);
  const dualMapping = attempt(() => memory.allocDualMapping(pageGranularity, {}));
  if (dualMapping !== undefined) memory.releaseDualMapping(dualMapping, pageGranularity);
  return { enabled: writableCode === undefined, mapJit: false, dualMapping: dualMapping !== undefined };
}

/** The end of every message of a failed dual mapping, on systems that have memory of the other kind. */
export const WAY_OUT =
  "to do without, pass `useDualMapping: false` (memory is then writable and executable at once)";

/** Calls `map`, and adds to its error how to do without a dual mapping. The library never does without unasked. */
export function withWayOut<T>(map: () => T, wayOut = WAY_OUT): T {
  try {
    return map();
  } catch (error) {
    if (!(error instanceof JitError)) throw error;
    throw new JitError(error.code, `${error.message}; ${wayOut}`, error);
  }
}

/**
 * One step of a probe. Never throws.
 *
 * @param work tries one thing, undoes it, and returns what it found.
 */
export function probeStep(name: string, work: () => string): ProbeStep {
  try {
    return { name, ok: true, detail: work() };
  } catch (error) {
    const native = error instanceof JitError ? error : undefined;
    return {
      name,
      ok: false,
      detail: error instanceof Error ? error.message : String(error),
      ...(native?.syscall === undefined ? {} : { syscall: native.syscall }),
      ...(native?.errno === undefined ? {} : { errno: native.errno }),
    };
  }
}

/** Whether this runtime gives views of native memory: opens one of a page. Never throws. */
export function probeView(memory: VirtualMemory): ProbeStep {
  return probeStep("view of native memory", () => {
    const { pageGranularity } = memory.info();
    const address = memory.alloc(pageGranularity, { read: true, write: true });
    try {
      memory.closeView(openOrExplain(memory, address, pageGranularity));
    } finally {
      memory.release(address, pageGranularity);
    }
    return "code is written through views";
  });
}

/** Bytes: the range that is tried. Small, so that a limit of addresses alone does not stand in its way. */
const PROBED_RANGE_BYTES = 2 ** 21;

/** Whether blocks can lie in one range: reserves one, uses a page of it, and gives it back. Never throws. */
export function probeRange(memory: VirtualMemory): ProbeStep {
  return probeStep("one range for all blocks", () => {
    const { ranges } = memory;
    if (ranges === undefined) {
      const lack =
        "two allocations may lie further apart than a relative call reaches (ask `reaches`), pages do not come back " +
        "inside blocks, and `near` and `sealed` are refused";
      const why = memory.noRanges ?? "this system offers none";
      throw new JitError("ERR_FEATURE_NOT_ENABLED", `blocks lie where the system puts them: ${lack}: ${why}`);
    }
    const sizeBytes = PROBED_RANGE_BYTES;
    const range = ranges.reserve({ sizeBytes, leastBytes: sizeBytes, isDual: true, reachBytes: sizeBytes });
    if (!("rx" in range))
      throw new JitError("ERR_FEATURE_NOT_ENABLED", `blocks are mapped one by one: ${range.reason}`);
    try {
      const { pageGranularity } = memory.info();
      ranges.commit(range, 0, pageGranularity, false);
      ranges.decommit(range, 0, pageGranularity);
    } finally {
      ranges.release(range);
    }
    return "every allocation reaches every other, and pages come back inside blocks (useRange, trim)";
  });
}

function openOrExplain(memory: VirtualMemory, address: number, sizeBytes: number): Uint8Array {
  try {
    return memory.openView(address, sizeBytes);
  } catch (error) {
    if (!(error instanceof JitError)) throw error;
    throw new JitError(
      error.code,
      `${error.message}; code is copied in and out by native calls instead, which take longer and do the same`,
      error,
    );
  }
}
