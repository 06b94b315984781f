/** What the systems' files share: words for access, and trying things that may fail. */
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

/** What `make` returns; undefined where the system refuses, whatever the reason: a probe is there to tell it. */
export function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof JitError) return undefined;
    throw error;
  }
}

/** What a system without MAP_JIT memory allows, found out by doing it and undoing it. */
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

/** What every message of a failed dual mapping ends with, where memory of the other kind exists at all. */
export const WAY_OUT =
  "to do without, pass `useDualMapping: false` (memory is then writable and executable at once)";

/** What `map` returns. Its error also says how to do without a dual mapping: nobody does without unasked. */
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
 * @param work tries it, undoes it, and says what it found.
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
