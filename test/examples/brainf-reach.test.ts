/** Compiled code where things are far apart: cells that no displacement reaches, and code that no short branch does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { nativeBackend } from "../../examples/brainf/backend.ts";
import type { EngineOptions } from "../../examples/brainf/engine.ts";
import { Engine } from "../../examples/brainf/engine.ts";
import { parse } from "../../examples/brainf/parser.ts";
import { ProgramError } from "../../examples/brainf/program-error.ts";

const backend = nativeBackend();
/** Above the reach of a conditional branch of AArch64, which is the shortest that is given up for a longer one. */
const LARGE_CODE_BYTES = 2 ** 20 + 64;

const tiers: readonly { name: string; options: EngineOptions }[] = [
  { name: "interpreted", options: {} },
  { name: "compiled", options: { backend, hotThreshold: 1 } },
  {
    name: "compiled into a large buffer",
    options: {
      backend: backend === undefined ? undefined : { ...backend, guessSizeBytes: () => LARGE_CODE_BYTES },
      hotThreshold: 1,
    },
  },
];

/** The output, and "off the tape" behind it if that is how the program ends. */
function outcome(source: string, options: EngineOptions): readonly (number | string)[] {
  const output: (number | string)[] = [];
  using engine = new Engine(parse(source), { ...options, onOutput: (bytes) => output.push(...bytes) });
  try {
    while (engine.run() === "paused");
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error;
    output.push("off the tape");
  }
  return output;
}

for (const { name, options } of tiers) {
  for (const distance of [100, 255, 256, 257, 2048, 4095, 4096, 5000, 20_000]) {
    test(`${name}: cells ${distance} apart are read, written, added up and stepped over`, () => {
      const right = ">".repeat(distance);
      const left = "<".repeat(distance);
      const sums = (there: string, back: string): string =>
        `+++[-${there}++[-${there}+++${back}]${there}+.${back}${back}]`;
      assert.deepEqual(outcome(sums(right, left), options), [7, 14, 21]);
      assert.deepEqual(outcome(right + right + sums(left, right), options), [7, 14, 21]);
      // The pointer itself moves on, until the tape ends.
      const cells = 4 * distance;
      assert.deepEqual(outcome(`+[[-]${right}+.]`, { ...options, cells }), [1, 1, 1, "off the tape"]);
      const toTheEnd = ">".repeat(cells - 1);
      assert.deepEqual(outcome(`${toTheEnd}+[[-]${left}+.]`, { ...options, cells }), [
        1,
        1,
        1,
        "off the tape",
      ]);
      // A scan steps over what is not zero, both ways; one that finds no zero leaves the tape.
      const marks = `+${right}+${right}+`;
      assert.deepEqual(outcome(`${marks}${left}${left}>+[<[${right}]-.>]`, options), [255]);
      assert.deepEqual(outcome(`${right}${marks}>+[<[${left}]-.>]`, options), [255]);
      assert.deepEqual(outcome(`${marks}>+[<[${left}]-.>]`, options), ["off the tape"]);
    });
  }
}
