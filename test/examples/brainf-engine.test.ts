import assert from "node:assert/strict";
import { test } from "node:test";
import type { Backend } from "../../examples/brainf/backend.ts";
import { nativeBackend } from "../../examples/brainf/backend.ts";
import type { EngineOptions } from "../../examples/brainf/engine.ts";
import { Engine } from "../../examples/brainf/engine.ts";
import { divide } from "../../examples/brainf/functions.ts";
import { optimise } from "../../examples/brainf/ir.ts";
import { Machine, OUTPUT_CAPACITY_BYTES } from "../../examples/brainf/machine.ts";
import { parse } from "../../examples/brainf/parser.ts";
import { ProgramError } from "../../examples/brainf/program-error.ts";
import { needs } from "../support/requirements.ts";

/** Both tiers; "compiled" from the first iteration on, so that even short programs are. */
const tiers = [
  { name: "interpreted", options: {} },
  { name: "compiled", options: { backend: nativeBackend(), hotThreshold: 1 } },
] as const;

function runToEnd(source: string, options: EngineOptions): { output: Buffer; functions: number } {
  const chunks: Uint8Array[] = [];
  using engine = new Engine(parse(source), { ...options, onOutput: (bytes) => chunks.push(bytes) });
  while (engine.run() === "paused");
  return { output: Buffer.concat(chunks), functions: engine.report.functions };
}

for (const { name, options } of tiers) {
  const offTape = (source: string, cells: number): { at: string; reason: string; output: string } => {
    const chunks: Uint8Array[] = [];
    const onOutput = (bytes: Uint8Array): number => chunks.push(bytes);
    using engine = new Engine(parse(source), { ...options, cells, onOutput });
    try {
      while (engine.run() === "paused");
    } catch (error) {
      if (!(error instanceof ProgramError)) throw error;
      const at = `${error.line}:${error.column}`;
      return { at, reason: error.reason, output: Buffer.concat(chunks).toString() };
    }
    assert.fail(`${source} stayed on the tape`);
  };

  test(`${name}: a pointer off the tape is reported where it leaves`, () => {
    // Straight code, the start of the tape, and what was printed before.
    assert.deepEqual(offTape("+++++[-]\n ++++++++[>++++++++<-]>+.<<.", 8), {
      at: "2:27",
      reason:
        "the pointer leaves the tape to the left (the tape has 8 cells, and the pointer starts at the first)",
      output: "A",
    });
    // In a loop, at the end of the tape, after some rounds.
    assert.equal(offTape("+\n[>+\n  >+>+]", 9).at, "3:5");
    assert.equal(offTape("+[[>]+]", 10).at, "1:4");
    assert.equal(offTape("+[>+[>>]<<<+]", 3).at, "1:7");
    // A multiplication that reaches too far fails only if it happens.
    assert.equal(offTape("+++[->\n>>+<<<]", 3).at, "2:2");
    assert.equal(runToEnd("[->>>+<<<]>[-<<<<+>>>>]", { ...options, cells: 3 }).output.length, 0);
    // Leaving and coming back is leaving.
    assert.equal(offTape("+[<>]", 3).at, "1:3");
    // The output of the loop's last round is not lost.
    assert.equal(offTape("++++[>++++++++[>++++++++<-]>+.<<<.]", 5).output, "A");
  });

  test(`${name}: output of any length arrives in order`, () => {
    // 255 × 255 × 3 bytes are more than two output buffers.
    const { output } = runToEnd("->>->++++++[-]<<<[>>-[>+.>++.>+++.[-]<[-]<[-]<-]<<-]", options);
    const rounds = output.length / 3;
    assert.ok(output.length > 2 * OUTPUT_CAPACITY_BYTES, `${output.length} bytes`);
    assert.deepEqual(output, Buffer.concat(Array.from({ length: rounds }, () => Buffer.of(1, 2, 3))));
  });

  test(`${name}: input is read to its end, and 0 after it`, () => {
    // A part of a larger array: its address is not the larger one's.
    const input = Uint8Array.from({ length: 200_003 }, (_, index) => 1 + (index % 255)).subarray(3);
    assert.deepEqual(runToEnd(",[.,]", { ...options, input }).output, Buffer.from(input));
    const afterEnd = runToEnd("+++++[>,.<-]", { ...options, input: Uint8Array.of(7, 8) });
    assert.deepEqual(afterEnd.output, Buffer.of(7, 8, 0, 0, 0));
  });

  test(`${name}: a program that never ends can be left and taken up again`, () => {
    using engine = new Engine(parse("+[>+<]"), options);
    // The first round is entered, not gone back to.
    assert.equal(engine.run(1000), "paused");
    assert.equal(engine.machine.tape[1], 1001 & 0xff);
    assert.equal(engine.run(500), "paused");
    assert.equal(engine.machine.tape[1], 1501 & 0xff);
  });

  test(`${name}: cells wrap around, and the tape is as long as asked for`, () => {
    assert.deepEqual(runToEnd("-.+.", options).output, Buffer.of(255, 0));
    assert.equal(runToEnd("+[>>>+<<<-]>>>.", { ...options, cells: 4 }).output[0], 1);
    assert.equal(offTape("+[>>>+<<<-]", 3).at, "1:5");
  });
}

/** What the compiler allocates besides the functions of loops: the code that enters them, and the veneer of its callback. */
const RUNTIME_ALLOCATIONS = 2;

test("the nest of a hot loop is compiled to functions that are shrunk to their code, and released", () => {
  const source = "++++++++[>++++++++[>++++++++[>+.<-]<-]<-]";
  const engine = new Engine(parse(source), { backend: nativeBackend(), hotThreshold: 10 });
  while (engine.run() === "paused");
  const { functions, askedBytes, codeBytes, keptBytes } = engine.report;
  assert.equal(functions, 2);
  assert.ok(codeBytes > 0 && codeBytes <= keptBytes && keptBytes < askedBytes, JSON.stringify(engine.report));
  const { allocator } = engine;
  assert.ok(allocator !== undefined);
  allocator.verify();
  assert.equal(allocator.statistics().allocationCount, functions + RUNTIME_ALLOCATIONS);
  engine[Symbol.dispose]();
  engine[Symbol.dispose]();
  assert.throws(() => allocator.alloc(64), { name: "JitError", code: "ERR_DISPOSED" });
});

test("a guess too small is given back and doubled", () => {
  const backend = nativeBackend();
  assert.ok(backend !== undefined);
  const guesses: number[] = [];
  const stingy: Backend = {
    ...backend,
    guessSizeBytes: () => 1,
    emit: (job, code) => {
      guesses.push(code.length);
      return backend.emit(job, code);
    },
  };
  using engine = new Engine(parse("++++[>++++[>+++++<-]>[.-]<<-]"), { backend: stingy, hotThreshold: 1 });
  assert.equal(engine.run(), "done");
  const { functions } = engine.report;
  assert.ok(guesses.length > functions && guesses[0] === 1 && guesses[1] === 2, String(guesses));
  assert.equal(engine.allocator?.statistics().allocationCount, functions + RUNTIME_ALLOCATIONS);
});

/** Divides a program, and writes each function as the loops in it by the texts of their bodies' first commands. */
function functionsOf(source: string): readonly string[] {
  const ir = optimise(parse(source));
  const homes = divide(ir);
  assert.ok(homes.every((home, index) => home.loops.some((loop) => loop.index === index)));
  return [...new Set(homes)].map(
    ({ loop, nest, loops }) =>
      `${loop.index} of nest ${nest.index}: ${loops.map(({ index }) => index).join(" ")}`,
  );
}

test("loops with loops inside, and outermost ones, are functions of their own", () => {
  assert.deepEqual(functionsOf("+++[>.<-]+[>.<-]"), ["0 of nest 0: 0", "1 of nest 1: 1"]);
  // Two innermost loops in one, that one beside another, all in the outermost.
  assert.deepEqual(
    functionsOf("+[>+[>+[.-]<[>.<-]-]<[.-]-]"),
    ["2 of nest 4: 2 1 0", "4 of nest 4: 4 3"].toSorted(),
  );
});

test("a program may nest as deep as it likes", () => {
  const depth = 20_000;
  const source = `+${"[>+".repeat(depth)}[.-]${"<-]".repeat(depth)}`;
  assert.deepEqual(runToEnd(source, { ...tiers[1].options }).output, Buffer.of(1));
});

test("a small budget of code leaves room for the cold code of many functions", () => {
  const source = `${"+[>[.-]<-]".repeat(12_000)}++++++++[>++++++++<-]>+.`;
  const backend = nativeBackend();
  assert.equal(runToEnd(source, { backend, codeBudget: 64 }).output.toString(), "A");
});

test("with a budget the report counts what was compiled, in all", { skip: needs("machineCode") }, () => {
  const source = "++++++++[>++++++++[>++++++++[>+<-]<-]<-]".repeat(4);
  const options = { backend: nativeBackend(), hotThreshold: 1 };
  using free = new Engine(parse(source), options);
  while (free.run() === "paused");
  const { keptBytes } = free.report;
  using engine = new Engine(parse(source), { ...options, codeBudget: keptBytes / 4 });
  while (engine.run() === "paused");
  const { report, cacheReport } = engine;
  assert.ok(cacheReport !== undefined);
  assert.equal(report.functions, cacheReport.compiled);
  assert.ok(report.functions >= 4 && cacheReport.evicted > 0, JSON.stringify(cacheReport));
  assert.ok(report.codeBytes <= report.keptBytes && report.keptBytes <= report.askedBytes);
  assert.ok(report.keptBytes > cacheReport.peakBytes, "what was evicted counts too");
});

test("what a taker of output throws comes out of the run, and the program can go on", () => {
  const chunks: Uint8Array[] = [];
  const failure = new Error("the reader went away");
  const source = "->->>->++++++[-]<<<[>>-[>+.>++.>+++.[-]<[-]<[-]<-]<<-]";
  const expected = runToEnd(source, {}).output;
  let takes = 0;
  using engine = new Engine(parse(source), {
    ...tiers[1].options,
    onOutput: (bytes) => {
      chunks.push(bytes);
      if (takes++ === 0) throw failure;
    },
  });
  assert.throws(() => engine.run(Infinity), failure);
  while (engine.run() === "paused");
  assert.deepEqual(Buffer.concat(chunks), expected);
  assert.ok(takes > 1, `output was taken ${takes} times`);
});

test("without a back end nothing is allocated", () => {
  using engine = new Engine(parse("+++[>+<-]"));
  assert.equal(engine.run(), "done");
  assert.equal(engine.allocator, undefined);
});

test("a tape has a length in range", () => {
  for (const cells of [0, -1, 1.5, NaN, 2 ** 20 + 1]) assert.throws(() => new Machine(cells), RangeError);
});
