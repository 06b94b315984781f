/** `jit-allocator doctor`: what this machine and runtime can do, and why not. */
import { readArgs } from "./args.ts";
import type { Command, CommandIo } from "./command.ts";
import { examine, thisMachine } from "./examination.ts";
import { tableLines } from "./table.ts";
import { wrap } from "./wrap.ts";
import type { DoctorPatient, DoctorReport } from "./examination.ts";

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
  help: HELP,
  run: (args, io) => runDoctor(args, io, thisMachine),
};

/** The command on any machine. @throws UsageError */
export function runDoctor(args: readonly string[], io: CommandIo, patient: DoctorPatient): number {
  const { values } = readArgs(args, { json: { type: "boolean" }, help: { type: "boolean", short: "h" } }, 0);
  if (values.help === true) {
    io.stdout(wrap(HELP, io.columns));
    return 0;
  }
  const report = examine(patient);
  io.stdout(
    values.json === true
      ? `${JSON.stringify(report, null, 2)}\n`
      : wrap(render(report, io.color), io.columns),
  );
  return report.ok ? 0 : 1;
}

// ---- The text -----------------------------------------------------------------------------------------------------

function render(report: DoctorReport, color: boolean): string {
  const paint = (code: number, text: string): string => (color ? `\u001b[${code}m${text}\u001b[0m` : text);
  const heading = (text: string): string => paint(1, text);
  const mark = (ok: boolean | null): string =>
    ok === null ? paint(33, "? ") : ok ? paint(32, "ok") : paint(31, "no");
  const said = (value: number | null, unit: string): string =>
    value === null ? "unknown: see below" : `${value} ${unit}`;
  const yes = (value: boolean | undefined, meaning = ""): string =>
    value === undefined ? "unknown: see below" : value ? `yes${meaning}` : "no";
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
        ["page size", said(memory.pageSize, "bytes")],
        ["page granularity", said(memory.pageGranularity, "bytes")],
        ["large page size", memory.largePageSize === 0 ? "none" : said(memory.largePageSize, "bytes")],
        ["hardened", yes(hardened?.enabled, ": no page is writable and executable at once")],
        ["dual mapping", yes(hardened?.dualMapping)],
        ["MAP_JIT", yes(hardened?.mapJit)],
      ]),
    );
  }
  if (report.steps.length !== 0) {
    lines.push("", heading("Tried"));
    lines.push(...table(report.steps.map(({ ok, name, detail }) => [mark(ok), name, detail])));
  }
  if (report.limits.length !== 0) {
    const rows = report.limits.map(({ name, value, unit, meaning }) => [
      name,
      value === null ? "unlimited" : typeof value === "string" ? value : `${value} ${unit}`,
      meaning,
    ]);
    lines.push("", heading("Limits"), ...table(rows));
  }
  lines.push("", paint(report.ok ? 32 : 31, report.verdict), ...report.advice.map((line) => `  - ${line}`));
  return `${lines.join("\n")}\n`;
}

function table(rows: readonly (readonly string[])[]): readonly string[] {
  return tableLines(rows, { indent: 2 });
}
