import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { test } from "node:test";
import { nativeBackend } from "../../examples/brainf/backend.ts";
import { Engine } from "../../examples/brainf/engine.ts";
import { mandelbrotProgram } from "../../examples/brainf/generate/mandelbrot.ts";
import { primesProgram } from "../../examples/brainf/generate/primes.ts";
import { BrainfWriter } from "../../examples/brainf/generate/writer.ts";
import { parse } from "../../examples/brainf/parser.ts";
import {
  heavyProgram,
  programsFolder,
  shippedProgramPath,
  shippedPrograms,
} from "../../examples/brainf/programs.ts";

function readProgram(name: string): string {
  return readFileSync(shippedProgramPath(name), "utf8");
}

function outputOf(name: string, tier: "interpreted" | "compiled", input = ""): string {
  const chunks: Uint8Array[] = [];
  using engine = new Engine(parse(readProgram(name)), {
    backend: tier === "compiled" ? nativeBackend() : undefined,
    input: Buffer.from(input),
    onOutput: (bytes) => chunks.push(bytes),
  });
  while (engine.run() === "paused");
  return Buffer.concat(chunks).toString();
}

/** The picture by the same arithmetic as the program's, in numbers instead of cells. */
function mandelbrotPicture(): string {
  const palette = ".,-~:;=!*#$@%&";
  const quotient = (value: number, divisor: number): number => Math.floor(value / divisor);
  const character = (cx: number, cy: number): string => {
    let [zx, zy] = [0, 0];
    for (let steps = 0; steps < 20; steps++) {
      const xx = quotient(zx * zx, 64);
      const yy = quotient(zy * zy, 64);
      const xy = Math.sign(zx * zy) * quotient(Math.abs(zx * zy), 32);
      [zx, zy] = [xx - yy + cx, xy + cy];
      const hasEscaped = xx + yy >= 256 || Math.abs(zx) >= 128 || Math.abs(zy) >= 128;
      if (hasEscaped) return palette.charAt(Math.min(steps, palette.length - 1));
    }
    return " ";
  };
  const rows = Array.from({ length: 23 }, (_, row) => {
    const columns = Array.from({ length: 56 }, (_, column) => character(3 * column - 128, 7 * row - 77));
    return `${columns.join("")}\n`;
  });
  return rows.join("");
}

function primesUpTo(bound: number): string {
  const numbers = Array.from({ length: bound - 1 }, (_, index) => index + 2);
  return numbers
    .filter((n) => numbers.every((divisor) => divisor >= n || n % divisor !== 0))
    .map((n) => `${n}\n`)
    .join("");
}

test("the programs that ship are these, and each begins by saying what it is", () => {
  const inFolder = readdirSync(programsFolder()).map((file) => basename(file, ".bf"));
  assert.deepEqual(shippedPrograms, inFolder.sort());
  assert.ok(shippedPrograms.includes(heavyProgram));
  for (const name of shippedPrograms) assert.match(readProgram(name), /^[A-Z][A-Za-z0-9 ]+\n/, name);
});

test("mandelbrot draws what the same arithmetic in numbers gives", () => {
  assert.equal(outputOf("mandelbrot", "compiled"), mandelbrotPicture());
});

for (const tier of ["interpreted", "compiled"] as const) {
  test(`${tier}: hello, primes and reverse print what they are for`, () => {
    assert.equal(outputOf("hello", tier), "Hello, tape!\n");
    assert.equal(outputOf("primes", tier), primesUpTo(255));
    const text = "one two three ".repeat(500);
    assert.equal(outputOf("reverse", tier, text), `${Buffer.from(text).reverse().toString()}\n`);
  });
}

test("the written programs are what their writers write", () => {
  assert.equal(readProgram("mandelbrot"), mandelbrotProgram());
  assert.equal(readProgram("primes"), primesProgram());
});

test("the writer refuses comments that would run", () => {
  assert.throws(() => new BrainfWriter().note("x, y"), /would run/);
});
