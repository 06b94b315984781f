import assert from "node:assert/strict";
import { test } from "node:test";
import type { Backend } from "../../examples/brainf/backend.ts";
import { nativeBackend } from "../../examples/brainf/backend.ts";
import type { EngineOptions } from "../../examples/brainf/engine.ts";
import { Engine } from "../../examples/brainf/engine.ts";
import { Machine, OUTPUT_CAPACITY_BYTES } from "../../examples/brainf/machine.ts";
import { parse } from "../../examples/brainf/parser.ts";
import { ProgramError } from "../../examples/brainf/program-error.ts";

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

test("hot loops are compiled one by one, shrunk to their code, and released", () => {
  const source = "++++++++[>++++++++[>++++++++[>+.<-]<-]<-]";
  const engine = new Engine(parse(source), { backend: nativeBackend(), hotThreshold: 10 });
  while (engine.run() === "paused");
  const { functions, askedBytes, codeBytes, keptBytes } = engine.report;
  assert.equal(functions, 2);
  assert.ok(codeBytes > 0 && codeBytes <= keptBytes && keptBytes < askedBytes, JSON.stringify(engine.report));
  const { allocator } = engine;
  assert.ok(allocator !== undefined);
  allocator.verify();
  const { allocationCount } = allocator.statistics();
  assert.equal(allocationCount, functions);
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
    emit: (ir, loop, cells, code) => {
      guesses.push(code.length);
      return backend.emit(ir, loop, cells, code);
    },
  };
  using engine = new Engine(parse("++++[>++++[>+++++<-]>[.-]<<-]"), { backend: stingy, hotThreshold: 1 });
  assert.equal(engine.run(), "done");
  assert.ok(guesses.length > engine.report.functions && guesses[0] === 64, String(guesses));
  assert.equal(engine.allocator?.statistics().allocationCount, engine.report.functions);
});

test("without a back end nothing is allocated", () => {
  using engine = new Engine(parse("+++[>+<-]"));
  assert.equal(engine.run(), "done");
  assert.equal(engine.allocator, undefined);
});

test("a tape has a length in range", () => {
  for (const cells of [0, -1, 1.5, NaN, 2 ** 20 + 1]) assert.throws(() => new Machine(cells), RangeError);
});
