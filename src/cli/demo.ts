/** `jit-allocator demo`: runs a Brainf*** program with the just-in-time compiler in `examples/brainf/`. */
import { createHash } from "node:crypto";
import { nativeBackend } from "../../examples/brainf/backend.ts";
import type { Backend } from "../../examples/brainf/backend.ts";
import type { CodeCacheReport } from "../../examples/code-cache/cache.ts";
import type { CompilerReport } from "../../examples/brainf/compiler.ts";
import { Engine } from "../../examples/brainf/engine.ts";
import { DEFAULT_CELLS, MAX_CELLS } from "../../examples/brainf/machine.ts";
import type { Program } from "../../examples/brainf/parser.ts";
import { Command as Instruction, parse } from "../../examples/brainf/parser.ts";
import { ProgramError } from "../../examples/brainf/program-error.ts";
import { heavyProgram, shippedProgramPath, shippedPrograms } from "../../examples/brainf/programs.ts";
import { readArgs, readInteger, UsageError } from "./args.ts";
import type { BlockPicture } from "./block-map.ts";
import { blockMapLegend, count, formatBytes, renderBlockMap } from "./block-map.ts";
import type { Command, CommandIo } from "./command.ts";
import { Progress, progressOn } from "./progress.ts";
import { tableLines } from "./table.ts";
import { wrap } from "./wrap.ts";
import { inputOf, readFile, unreadable, UnreadableFile } from "./files.ts";

/** The exit code that a shell reports for a program ended by Ctrl-C: 128 + SIGINT. */
const EXIT_INTERRUPTED = 130;

/** 64 MiB: as much as the largest block. */
const MOST_BUDGET_BYTES = 2 ** 26;

const HELP = `Usage: jit-allocator demo [PROGRAM] [options]

Runs a Brainf*** program by a just-in-time compiler: it starts by interpreting,
and when a loop gets hot, compiles it and all loops around it to machine code:
functions that call each other, and a function of TypeScript for output. Then
interprets the program once more without the compiler, to compare.

PROGRAM is a file, or the name of a program that ships:
  ${shippedPrograms.join(", ")} (${heavyProgram} unless one is named);
  - reads the program from standard input.

The program's output goes to standard output, the report to standard error.
Standard input is the program's input, unless it is a terminal; at its end, ","
stores 0. Cells are bytes and wrap around. Ctrl-C ends the run, or the
comparison.

Options:
  --input FILE   take the program's input from a file, - is standard input
  --cells N      cells on the tape, 1 to ${MAX_CELLS} (default ${DEFAULT_CELLS})
  --code-budget N  bytes of machine code that may be kept, from 64 on; what has
                 not been used for longest is evicted (default: no bound)
  --no-compare   run it once only
  --json         print one JSON document, with the output in it, instead
  --help, -h     print this text

Exit codes: 0 done, 1 the program failed or cannot be read, 2 the command line
was wrong, ${EXIT_INTERRUPTED} the run was interrupted.
`;

/** The command. */
export const demo: Command = {
  help: HELP,
  run: runDemo,
};

/** The results of the runs. */
interface Result {
  readonly name: string;
  readonly cells: number;
  readonly backend: Backend | undefined;
  readonly first: Run;
  /** The run without the compiler; undefined if none was wanted, or it would make no sense. */
  readonly comparison: Run | undefined;
}

interface Run {
  readonly end: "done" | "interrupted";
  readonly milliseconds: number;
  readonly outputDigest: string;
  readonly compiler: CompilerReport;
  /** Undefined where there was no budget. */
  readonly cache: CodeCacheReport | undefined;
  readonly blocks: readonly (BlockPicture & { readonly rx: number })[];
}

async function runDemo(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = readArgs(
    args,
    {
      input: { type: "string" },
      cells: { type: "string" },
      "code-budget": { type: "string" },
      "no-compare": { type: "boolean" },
      json: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
    1,
  );
  if (values.help === true) {
    io.stdout(wrap(HELP, io.columns));
    return 0;
  }
  const cells =
    values.cells === undefined ? DEFAULT_CELLS : readInteger("--cells", values.cells, 1, MAX_CELLS);
  const budget = values["code-budget"];
  const codeBudget =
    budget === undefined ? undefined : readInteger("--code-budget", budget, 64, MOST_BUDGET_BYTES);
  const name = positionals[0] ?? heavyProgram;
  if (name === "-" && values.input === "-") {
    throw new UsageError("standard input cannot be both the program and its input; name a file for one");
  }
  const isJson = values.json === true;
  const output: Uint8Array[] = [];
  try {
    const program = parse(new TextDecoder().decode(readProgram(name, io)));
    const input = readInput(program, values.input, name === "-", io);
    const backend = nativeBackend();
    const onOutput = (bytes: Uint8Array): void => {
      if (isJson) output.push(bytes);
      else io.stdout(bytes);
    };
    const first = await run(program, { cells, input, backend, codeBudget, onOutput });
    const isCompared = values["no-compare"] !== true && first.end === "done" && backend !== undefined;
    const comparison = isCompared
      ? await compare(program, { cells, input }, isJson ? undefined : io)
      : undefined;
    if (comparison?.end === "done" && comparison.outputDigest !== first.outputDigest) {
      throw new Error("The interpreter and the compiled code do not print the same");
    }
    const result: Result = { name, cells, backend, first, comparison };
    if (isJson) io.stdout(`${JSON.stringify(toJson(result, output), null, 2)}\n`);
    else io.stderr(render(result, io));
    return first.end === "done" ? 0 : EXIT_INTERRUPTED;
  } catch (error) {
    const message = messageFor(name, error);
    if (message === undefined) throw error;
    if (!isJson) io.stderr(wrap(`jit-allocator demo: ${message}\n`, io.stderrColumns));
    else io.stdout(`${JSON.stringify(errorToJson(name, error, message, output), null, 2)}\n`);
    return 1;
  }
}

function readProgram(name: string, io: CommandIo): Uint8Array {
  if (name === "-") return inputOf("the program", io);
  try {
    return readFile(name);
  } catch (error) {
    if (shippedPrograms.includes(name)) return readShippedProgram(name);
    throw error;
  }
}

/** @throws UnreadableFile also where this process may not look for the package */
function readShippedProgram(name: string): Uint8Array {
  let path: string;
  try {
    path = shippedProgramPath(name);
  } catch (error) {
    throw unreadable(name, error);
  }
  return readFile(path);
}

function readInput(
  program: Program,
  file: string | undefined,
  isStdinTaken: boolean,
  io: CommandIo,
): Uint8Array {
  if (file === "-") return inputOf("the program's input", io);
  if (file !== undefined) return readFile(file);
  const reads = program.commands.includes(Instruction.Input);
  return reads && !isStdinTaken ? io.readStdin() : new Uint8Array(0);
}

interface RunOptions {
  readonly cells: number;
  readonly input: Uint8Array;
  readonly backend?: Backend | undefined;
  readonly codeBudget?: number | undefined;
  readonly onOutput?: (bytes: Uint8Array) => void;
  /** Called between slices, with the time so far. */
  readonly onSlice?: (milliseconds: number) => void;
}

/** Runs to the end, or until Ctrl-C. @throws ProgramError */
async function run(program: Program, options: RunOptions): Promise<Run> {
  const interrupt = new AbortController();
  const onInterrupt = (): void => {
    interrupt.abort();
  };
  process.on("SIGINT", onInterrupt);
  const digest = createHash("sha256");
  try {
    using engine = new Engine(program, {
      ...options,
      onOutput: (bytes) => {
        digest.update(bytes);
        options.onOutput?.(bytes);
      },
    });
    let milliseconds = 0;
    for (;;) {
      const start = performance.now();
      const end = engine.run();
      milliseconds += performance.now() - start;
      if (end === "paused" && !interrupt.signal.aborted) {
        options.onSlice?.(milliseconds);
        // Here the event loop delivers signals, and the error that nobody reads the output any more.
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      return {
        end: end === "done" ? "done" : "interrupted",
        milliseconds,
        outputDigest: digest.digest("hex"),
        compiler: engine.report,
        cache: engine.cacheReport,
        blocks: engine.allocator?.blocks() ?? [],
      };
    }
  } finally {
    process.off("SIGINT", onInterrupt);
  }
}

/** Runs the program by the interpreter alone. Shows for how long. */
async function compare(program: Program, options: RunOptions, io: CommandIo | undefined): Promise<Run> {
  if (io === undefined) return await run(program, options);
  using progress = new Progress(progressOn(io));
  const onSlice = (milliseconds: number): void => {
    const seconds = (milliseconds / 1000).toFixed(1);
    progress.show(() => `Interpreting without the compiler, to compare (Ctrl-C ends it): ${seconds} s`);
  };
  return await run(program, { ...options, onSlice });
}

function messageFor(name: string, error: unknown): string | undefined {
  if (error instanceof ProgramError) return `${name}:${error.message}`;
  return error instanceof UnreadableFile ? error.message : undefined;
}

function speedup({ first, comparison }: Result): number | null {
  return comparison?.end === "done" ? comparison.milliseconds / first.milliseconds : null;
}

function render(result: Result, { stderrColor: isColored = false, stderrColumns }: CommandIo): string {
  const { first, comparison, backend } = result;
  const { functions, askedBytes, codeBytes, keptBytes } = first.compiler;
  const bold = (text: string): string => (isColored ? `\u001b[1m${text}\u001b[22m` : text);
  const green = (text: string): string => (isColored ? `\u001b[32m${text}\u001b[39m` : text);
  const factor = speedup(result);
  // Where no loop got hot, the ratio would be chance.
  const ratio = factor === null || functions === 0 ? "" : ` (${factor.toFixed(1)} times as fast)`;
  const compiled =
    backend === undefined
      ? `nothing: there is no back end for this processor and system yet`
      : `${count(functions, "function")}, ${formatBytes(codeBytes)} of ${backend.name} code`;
  const keptShare = askedBytes === 0 ? "" : ` (${Math.round((100 * keptBytes) / askedBytes)}%)`;
  const rows = [
    [bold("compiled"), compiled],
    [bold("asked"), formatBytes(askedBytes)],
    [bold("kept"), `${formatBytes(keptBytes)} after the shrink${keptShare}`],
    ...(first.cache === undefined ? [] : [[bold("budget"), describeCache(first.cache)]]),
    [bold("with compiler"), describeTime(first) + ratio],
    [bold("interpreted"), comparison === undefined ? "not run" : describeTime(comparison)],
  ];
  const table = `${tableLines(rows).join("\n")}\n`;
  const maps = first.blocks.map((block, index) =>
    green(renderBlockMap(block, `block ${index + 1}`, stderrColumns)),
  );
  const picture = maps.length > 0 ? `${maps.join("")}${blockMapLegend(stderrColumns)}\n` : "";
  return wrap(`\n${table}${picture}`, stderrColumns);
}

function describeTime({ milliseconds, end }: Run): string {
  return `${milliseconds.toFixed(1)} ms${end === "interrupted" ? ", then interrupted" : ""}`;
}

function describeCache({ compiled, evicted, refused, peakBytes }: CodeCacheReport): string {
  const kept = `${formatBytes(peakBytes)} of code at the most`;
  return `${kept}: ${count(compiled, "function")} compiled, ${evicted} evicted, ${refused} too large`;
}

function decodeOutput(output: readonly Uint8Array[]): string {
  return new TextDecoder().decode(Buffer.concat(output));
}

function toJson(result: Result, output: readonly Uint8Array[]): object {
  const { name, cells, backend, first, comparison } = result;
  return {
    program: name,
    cells,
    output: decodeOutput(output),
    end: first.end,
    backend: backend?.name ?? null,
    ...first.compiler,
    ...(first.cache !== undefined && { cache: first.cache }),
    compiledMs: first.milliseconds,
    interpretedMs: comparison?.end === "done" ? comparison.milliseconds : null,
    speedup: speedup(result),
    blocks: first.blocks.map(({ rx, size, granularity, allocationCount, usedSize, granules }) => ({
      rx,
      size,
      granularity,
      allocationCount,
      usedSize,
      granules: granules.join(""),
    })),
  };
}

function errorToJson(name: string, error: unknown, message: string, output: readonly Uint8Array[]): object {
  const position = error instanceof ProgramError ? { line: error.line, column: error.column } : {};
  return { program: name, output: decodeOutput(output), end: "error", error: { message, ...position } };
}
