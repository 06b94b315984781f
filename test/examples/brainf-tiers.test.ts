import assert from "node:assert/strict";
import { test } from "node:test";
import { nativeBackend } from "../../examples/brainf/backend.ts";
import { Engine } from "../../examples/brainf/engine.ts";
import { Machine } from "../../examples/brainf/machine.ts";
import type { Program } from "../../examples/brainf/parser.ts";
import { parse } from "../../examples/brainf/parser.ts";
import { runPrecisely } from "../../examples/brainf/precise.ts";
import { ProgramError } from "../../examples/brainf/program-error.ts";
import { randomProgram, seededRandom } from "../support/random-brainf.ts";

/** Everything that can be seen of a run. */
interface Outcome {
  readonly end: string;
  readonly output: string;
  readonly tape: string;
  readonly pointer: number;
}

const CELLS = 24;
/** Begins in the middle of the tape: most programs stray to both sides. */
const PREFIX = ">".repeat(10);
/** Iterations in a slice, small and odd: compiled code is left and entered anywhere in its work. */
const SLICE_ITERATIONS = 61;
const SLICES = 60;
const INPUT = Uint8Array.from([3, 255, 0, 65, 1, 128]);

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function errorText(error: unknown): string {
  if (error instanceof ProgramError) return error.message;
  throw error;
}

/** By the letter of the language; undefined where the program does not end soon enough to compare. */
function precisely(program: Program, commandLimit: number): Outcome | undefined {
  const machine = new Machine(CELLS, INPUT);
  let end: string;
  try {
    end = runPrecisely(program, machine, { command: 0, limit: commandLimit });
  } catch (error) {
    end = errorText(error);
  }
  if (end === "limit" || end === "output-full") return undefined;
  return { end, output: hex(machine.takeOutput()), tape: hex(machine.tape), pointer: machine.pointer };
}

interface EngineOutcome extends Outcome {
  readonly functions: number;
}

function withEngine(program: Program, hotThreshold: number | undefined, codeBudget?: number): EngineOutcome {
  const output: Uint8Array[] = [];
  using engine = new Engine(program, {
    cells: CELLS,
    input: INPUT,
    backend: hotThreshold === undefined ? undefined : nativeBackend(),
    hotThreshold: hotThreshold ?? 0,
    codeBudget,
    onOutput: (bytes) => output.push(bytes),
  });
  let end = "paused";
  try {
    for (let slice = 0; slice < SLICES && end === "paused"; slice++) end = engine.run(SLICE_ITERATIONS);
  } catch (error) {
    end = errorText(error);
  }
  return {
    end,
    output: hex(Buffer.concat(output)),
    tape: hex(engine.machine.tape),
    pointer: engine.machine.pointer,
    functions: engine.report.functions,
  };
}

test("random programs do the same by the letter, interpreted, and compiled", () => {
  const seen = { ended: 0, offTape: 0, compiled: 0, paused: 0 };
  for (let seed = 1; seed <= 600; seed++) {
    const source = PREFIX + randomProgram(seededRandom(seed));
    const program = parse(source);
    const about = `seed ${seed}: ${source}`;
    const interpreted = withEngine(program, undefined);
    const compiled = withEngine(program, 1 + (seed % 4));
    assert.deepEqual({ ...compiled, functions: 0 }, interpreted, about);
    const precise = precisely(program, 300_000);
    if (precise !== undefined && interpreted.end !== "paused") {
      const { end, output, tape, pointer } = interpreted;
      if (end === "done") assert.deepEqual({ end, output, tape, pointer }, precise, about);
      // Where the program fails, what was left on the tape is nobody's business: only what could be seen is.
      else assert.deepEqual({ end, output }, { end: precise.end, output: precise.output }, about);
    }
    if (compiled.functions > 0) seen.compiled++;
    if (compiled.end === "done") seen.ended++;
    else if (compiled.end === "paused") seen.paused++;
    else seen.offTape++;
  }
  console.log(seen);
  // The programs are worth nothing if they are all of one kind.
  for (const [kind, count] of Object.entries(seen)) assert.ok(count >= 25, `${count} programs: ${kind}`);
});

test("random programs do the same when their code does not all fit", () => {
  let evicted = 0;
  let refused = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const source = PREFIX + randomProgram(seededRandom(seed));
    const program = parse(source);
    const interpreted = withEngine(program, undefined);
    for (const codeBudget of [64, 320, 1024]) {
      const budgeted = withEngine(program, 1 + (seed % 4), codeBudget);
      assert.deepEqual(
        { ...budgeted, functions: 0 },
        interpreted,
        `seed ${seed}, ${codeBudget} bytes: ${source}`,
      );
    }
    using engine = new Engine(program, {
      ...{ cells: CELLS, input: INPUT, backend: nativeBackend(), hotThreshold: 1, codeBudget: 320 },
    });
    try {
      for (let slice = 0; slice < SLICES && engine.run(SLICE_ITERATIONS) === "paused"; slice++);
    } catch (error) {
      errorText(error);
    }
    engine.allocator?.verify();
    const report = engine.cacheReport;
    if (report === undefined) continue;
    assert.ok(report.peakBytes <= 320);
    evicted += report.evicted;
    refused += report.refused;
  }
  if (nativeBackend() !== undefined) assert.ok(evicted >= 5 && refused >= 20, `${evicted}, ${refused}`);
});
