/**
 * The examination of `doctor`. Every question may be refused, by a permission or by the system; the refusal is the answer
 * then.
 */
import { release } from "node:os";
import type { Ffi } from "../ffi/contract.ts";
import { systemFfi } from "../ffi/select.ts";
import { flagOf, isGranted, notAllowed, platform, refusalOf } from "../base/platform.ts";
import type { Platform, ProcessorName } from "../base/platform.ts";
import { probeRange, probeStep, probeView } from "../vm/attempts.ts";
import type { HardenedRuntimeInfo, MemoryLimit, ProbeStep, VirtualMemory } from "../vm/contract.ts";
import { systemMemory } from "../vm/select.ts";

/** The report that `--json` prints. */
export interface DoctorReport {
  /** True where machine code can be made and run here; the exit code says the same. */
  readonly ok: boolean;
  readonly verdict: string;
  /** What to do, most important first; empty where there is nothing to do. */
  readonly advice: readonly string[];
  readonly runtime: { readonly name: string; readonly version: string; readonly reason: string };
  /** `release` is a text where this process may not ask for it: it says so, and what would allow it. */
  readonly system: { readonly name: string; readonly release: string; readonly reason: string };
  readonly processor: { readonly name: string; readonly reason: string };
  /** Null where no native code can be called. */
  readonly ffi: { readonly name: string; readonly version: string; readonly reason: string } | null;
  /**
   * Null where no native code can be called; the lists below are empty then. A field is null where it could not be asked:
   * the steps say why.
   */
  readonly memory: {
    readonly pageSize: number | null;
    readonly pageGranularity: number | null;
    readonly largePageSize: number | null;
    readonly hardened: HardenedRuntimeInfo | null;
  } | null;
  readonly steps: readonly ProbeStep[];
  readonly limits: readonly MemoryLimit[];
}

/** The machine that is examined. Tests pass their own. */
export interface DoctorPatient {
  readonly platform: Platform;
  systemRelease(): string;
  ffi(): Ffi;
  memory(): VirtualMemory;
}

/** The machine that this program runs on. Making it asks nothing. */
export const thisMachine: DoctorPatient = {
  platform,
  systemRelease: () => {
    const permission = { name: "sys", kind: "osRelease" } as const;
    return isGranted(permission) ? release() : notAllowed(flagOf(permission));
  },
  ffi: systemFfi,
  memory: systemMemory,
};

const NOTHING_RUNS = "Machine code cannot be run here.";

/** A function without parameters that returns 42, for each processor. */
const FORTY_TWO: Readonly<Record<ProcessorName, readonly number[] | undefined>> = {
  x64: [0xb8, 0x2a, 0x00, 0x00, 0x00, 0xc3], // mov eax, 42; ret
  arm64: [0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6], // mov w0, #42; ret
  other: undefined,
};

/** Examines a machine. Never throws: failures and refusals become part of the report. */
export function examine(patient: DoctorPatient): DoctorReport {
  const { runtime, runtimeVersion, system, processor, evidence } = patient.platform;
  const about = {
    runtime: { name: runtime, version: runtimeVersion, reason: evidence.runtime },
    system: { name: system, release: ask(() => patient.systemRelease(), unknown), reason: evidence.system },
    processor: { name: processor, reason: evidence.processor },
  };
  let ffi: Ffi | undefined;
  let memory: VirtualMemory;
  try {
    ffi = patient.ffi();
    memory = patient.memory();
  } catch (error) {
    return {
      ok: false,
      verdict: NOTHING_RUNS,
      advice: [messageOf(error)],
      ...about,
      ffi: ffi === undefined ? null : describeFfi(ffi),
      memory: null,
      steps: [],
      limits: [],
    };
  }
  const calls = ffi;
  const dual = probeStep("run code: dual mapping", () => runDualMapped(memory, calls, processor));
  const single = probeStep("run code: useDualMapping: false", () =>
    runWritableCode(memory, calls, processor),
  );
  const failures: ProbeStep[] = [];
  const askAbout = <T>(name: string, question: () => T): T | null =>
    ask(question, (error) => {
      failures.push({ name, ok: null, detail: unknown(error) });
      return null;
    });
  const info = askAbout("page size", () => memory.info());
  const limits = askAbout("limits", () => memory.limits()) ?? [];
  const tried = askAbout("what else there is", () => memory.probe()) ?? [];
  return {
    ok: dual.ok === true || single.ok === true,
    verdict: judge(dual, single),
    advice: advise(dual, single, limits),
    ...about,
    ffi: describeFfi(ffi),
    memory: {
      pageSize: info?.pageSize ?? null,
      pageGranularity: info?.pageGranularity ?? null,
      largePageSize: askAbout("large page size", () => {
        const size = memory.largePageSize();
        return size === 0 && memory.largePageSizeRefusal?.() !== undefined ? null : size;
      }),
      hardened: askAbout("hardened", () => memory.hardenedRuntimeInfo()),
    },
    steps: [dual, single, probeView(memory), probeRange(memory), ...tried, ...failures],
    limits,
  };
}

/** The answer to a question; where the question fails, what `otherwise` makes of the error. */
function ask<T, U>(question: () => T, otherwise: (error: unknown) => U): T | U {
  try {
    return question();
  } catch (error) {
    return otherwise(error);
  }
}

/** The text that replaces an answer. */
function unknown(error: unknown): string {
  const allowing = refusalOf(error);
  return allowing === undefined ? `unknown: ${messageOf(error)}` : notAllowed(allowing);
}

function describeFfi({ name, version, reason }: Ffi): NonNullable<DoctorReport["ffi"]> {
  return { name, version, reason };
}

function judge(dual: ProbeStep, single: ProbeStep): string {
  if (dual.ok === true)
    return "Machine code can be run here, and no page is writable and executable at once (the default).";
  if (single.ok === true) return "Machine code can be run here with `useDualMapping: false` alone.";
  return NOTHING_RUNS;
}

/** Bytes. Blocks grow up to this size, so that a growing program meets any limit below it. */
const LARGEST_GROWN_BLOCK = 64 * 1024 * 1024;

function advise(dual: ProbeStep, single: ProbeStep, limits: readonly MemoryLimit[]): readonly string[] {
  const advice: string[] = [];
  if (dual.ok !== true) advice.push(dual.detail);
  if (dual.ok !== true && single.ok === true) {
    advice.push("Pass `useDualMapping: false`; memory is then writable and executable at once.");
  }
  if (single.ok !== true) {
    advice.push(
      dual.ok === true
        ? "This machine refuses memory that is writable and executable at once: leave `useDualMapping` on."
        : single.detail,
    );
  }
  for (const { name, value, unit } of limits) {
    if (unit === "bytes" && typeof value === "number" && value < LARGEST_GROWN_BLOCK) {
      advice.push(`${name} is ${value} bytes: larger blocks will be refused. Raise it with ulimit.`);
    }
  }
  return advice;
}

function runDualMapped(memory: VirtualMemory, ffi: Ffi | undefined, processor: ProcessorName): string {
  const { pageGranularity } = memory.info();
  const mapping = memory.allocDualMapping(pageGranularity, { read: true, write: true, execute: true });
  try {
    return callFortyTwo(memory, ffi, processor, mapping.rx, mapping.rw);
  } finally {
    memory.releaseDualMapping(mapping, pageGranularity);
  }
}

function runWritableCode(memory: VirtualMemory, ffi: Ffi | undefined, processor: ProcessorName): string {
  const { pageGranularity } = memory.info();
  const address = memory.alloc(pageGranularity, { read: true, write: true, execute: true });
  try {
    return callFortyTwo(memory, ffi, processor, address, address);
  } finally {
    memory.release(address, pageGranularity);
  }
}

function callFortyTwo(
  memory: VirtualMemory,
  ffi: Ffi | undefined,
  processor: ProcessorName,
  rx: number,
  rw: number,
): string {
  const code = FORTY_TWO[processor];
  if (code === undefined || ffi === undefined) return "mapped; no code for this processor to run";
  memory.copyIn(rw, Uint8Array.from(code), code.length);
  memory.flushInstructionCache(rx, code.length);
  const callable = ffi.callable(rx, { parameters: [], result: "i32" });
  try {
    const result = callable.call();
    if (result !== 42) throw new Error(`a function that returns 42 returned ${String(result)}`);
    return "a function that returns 42 was written, run, and returned it";
  } finally {
    callable.close();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
