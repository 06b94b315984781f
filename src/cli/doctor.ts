/** `jit-allocator doctor`: what this machine and runtime can do, and why not. */
import { release as systemRelease } from "node:os";
import type { Ffi } from "../ffi/contract.ts";
import { systemFfi } from "../ffi/select.ts";
import { platform } from "../base/platform.ts";
import type { Platform, ProcessorName } from "../base/platform.ts";
import { probeStep, probeView } from "../vm/attempts.ts";
import type { HardenedRuntimeInfo, MemoryLimit, ProbeStep, VirtualMemory } from "../vm/contract.ts";
import { systemMemory } from "../vm/select.ts";
import { readArgs } from "./args.ts";
import type { Command, CommandIo } from "./command.ts";

/** What `--json` prints. */
export interface DoctorReport {
  /** True where machine code can be made and run here; the exit code says the same. */
  readonly ok: boolean;
  readonly verdict: string;
  /** What to do, most important first; empty where nothing is to be done. */
  readonly advice: readonly string[];
  readonly runtime: { readonly name: string; readonly version: string; readonly reason: string };
  readonly system: { readonly name: string; readonly release: string; readonly reason: string };
  readonly processor: { readonly name: string; readonly reason: string };
  /** Null where no native code can be called. */
  readonly ffi: { readonly name: string; readonly version: string; readonly reason: string } | null;
  /** Null where no native code can be called; so are the lists below empty then. */
  readonly memory: {
    readonly pageSize: number;
    readonly pageGranularity: number;
    readonly largePageSize: number;
    readonly hardened: HardenedRuntimeInfo;
  } | null;
  readonly steps: readonly ProbeStep[];
  readonly limits: readonly MemoryLimit[];
}

/** What is examined. Tests pass a machine of their own. */
export interface DoctorPatient {
  readonly platform: Platform;
  readonly systemRelease: string;
  ffi(): Ffi;
  memory(): VirtualMemory;
}

const thisMachine: DoctorPatient = {
  platform,
  systemRelease: systemRelease(),
  ffi: systemFfi,
  memory: systemMemory,
};

/** A function without parameters that returns 42, for each processor. */
const FORTY_TWO: Readonly<Record<ProcessorName, readonly number[] | undefined>> = {
  x64: [0xb8, 0x2a, 0x00, 0x00, 0x00, 0xc3], // mov eax, 42; ret
  arm64: [0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6], // mov w0, #42; ret
  other: undefined,
};

const HELP = `Usage: jit-allocator doctor [--json]

Tries every way of making executable memory on this machine, undoes each, and
prints what works, what does not, why, and what to do about it.

Options:
  --json      print the report as JSON
  --help, -h  print this text

Exit codes: 0 machine code can be made and run here, 1 it cannot,
2 the command line was wrong.
`;

/** The command. */
export const doctor: Command = {
  name: "doctor",
  summary: "what this machine and runtime can do, and why not",
  help: HELP,
  run: (args, io) => runDoctor(args, io, thisMachine),
};

/** The command on any machine. @throws UsageError */
export function runDoctor(args: readonly string[], io: CommandIo, patient: DoctorPatient): number {
  const { values } = readArgs(args, { json: { type: "boolean" }, help: { type: "boolean", short: "h" } }, 0);
  if (values.help === true) {
    io.stdout(HELP);
    return 0;
  }
  const report = examine(patient);
  io.stdout(values.json === true ? `${JSON.stringify(report, null, 2)}\n` : render(report, io.color));
  return report.ok ? 0 : 1;
}

/** Examines a machine. Never throws: what fails becomes part of the report. */
export function examine(patient: DoctorPatient): DoctorReport {
  const { runtime, runtimeVersion, system, processor, evidence } = patient.platform;
  const about = {
    runtime: { name: runtime, version: runtimeVersion, reason: evidence.runtime },
    system: { name: system, release: patient.systemRelease, reason: evidence.system },
    processor: { name: processor, reason: evidence.processor },
  };
  let ffi: Ffi | undefined;
  try {
    ffi = patient.ffi();
    const memory = patient.memory();
    const { pageSize, pageGranularity } = memory.info();
    const dual = probeStep("run code: dual mapping", () => runDualMapped(memory, ffi, processor));
    const single = probeStep("run code: useDualMapping: false", () =>
      runWritableCode(memory, ffi, processor),
    );
    const hardened = memory.hardenedRuntimeInfo();
    const limits = memory.limits();
    return {
      ok: dual.ok || single.ok,
      verdict: judge(dual, single),
      advice: advise(dual, single, limits),
      ...about,
      ffi: { name: ffi.name, version: ffi.version, reason: ffi.reason },
      memory: { pageSize, pageGranularity, largePageSize: memory.largePageSize(), hardened },
      steps: [dual, single, probeView(memory), ...memory.probe()],
      limits,
    };
  } catch (error) {
    return {
      ok: false,
      verdict: "Machine code cannot be run here.",
      advice: [messageOf(error)],
      ...about,
      ffi: ffi === undefined ? null : { name: ffi.name, version: ffi.version, reason: ffi.reason },
      memory: null,
      steps: [],
      limits: [],
    };
  }
}

function judge(dual: ProbeStep, single: ProbeStep): string {
  if (dual.ok)
    return "Machine code can be run here, and no page is writable and executable at once (the default).";
  if (single.ok) return "Machine code can be run here with `useDualMapping: false` alone.";
  return "Machine code cannot be run here.";
}

/** Blocks grow up to this size, so a file limit below it is met one day. */
const LARGEST_GROWN_BLOCK = 64 * 1024 * 1024;

function advise(dual: ProbeStep, single: ProbeStep, limits: readonly MemoryLimit[]): readonly string[] {
  const advice: string[] = [];
  if (!dual.ok) advice.push(dual.detail);
  if (!dual.ok && single.ok) {
    advice.push("Pass `useDualMapping: false`; memory is then writable and executable at once.");
  }
  if (!single.ok) {
    advice.push(
      dual.ok
        ? "This machine refuses memory that is writable and executable at once: leave `useDualMapping` on."
        : single.detail,
    );
  }
  for (const { name, value, unit } of limits) {
    if (unit === "bytes" && value !== null && value < LARGEST_GROWN_BLOCK) {
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

// ---- The text -----------------------------------------------------------------------------------------------------

function render(report: DoctorReport, color: boolean): string {
  const paint = (code: number, text: string): string => (color ? `\u001b[${code}m${text}\u001b[0m` : text);
  const heading = (text: string): string => paint(1, text);
  const mark = (ok: boolean): string => (ok ? paint(32, "ok") : paint(31, "no"));
  const { runtime, system, processor, ffi, memory } = report;

  const lines = [
    heading("Machine"),
    ...table([
      ["runtime", `${runtime.name} ${runtime.version}: ${runtime.reason}`],
      ["system", `${system.name} ${system.release}: ${system.reason}`],
      ["processor", `${processor.name}: ${processor.reason}`],
      ["FFI", ffi === null ? "none" : `${ffi.name} ${ffi.version}: ${ffi.reason}`],
    ]),
  ];
  if (memory !== null) {
    const { hardened } = memory;
    lines.push(
      "",
      heading("Memory"),
      ...table([
        ["page size", `${memory.pageSize} bytes`],
        ["page granularity", `${memory.pageGranularity} bytes`],
        ["large page size", memory.largePageSize === 0 ? "none" : `${memory.largePageSize} bytes`],
        ["hardened", hardened.enabled ? "yes: no page is writable and executable at once" : "no"],
        ["dual mapping", hardened.dualMapping ? "yes" : "no"],
        ["MAP_JIT", hardened.mapJit ? "yes" : "no"],
      ]),
    );
  }
  if (report.steps.length !== 0) {
    lines.push("", heading("Tried"));
    const width = Math.max(...report.steps.map(({ name }) => name.length));
    for (const { ok, name, detail } of report.steps)
      lines.push(`  ${mark(ok)}  ${name.padEnd(width)}  ${detail}`);
  }
  if (report.limits.length !== 0) {
    const rows = report.limits.map(({ name, value, unit, meaning }): [string, string] => [
      name,
      `${(value === null ? "unlimited" : `${value} ${unit}`).padEnd(22)}  ${meaning}`,
    ]);
    lines.push("", heading("Limits"), ...table(rows));
  }
  lines.push("", paint(report.ok ? 32 : 31, report.verdict), ...report.advice.map((line) => `  - ${line}`));
  return `${lines.join("\n")}\n`;
}

function table(rows: readonly (readonly [string, string])[]): readonly string[] {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`);
}
