import assert from "node:assert/strict";
import { test } from "node:test";
import { optimise, Op, STRIDE } from "../../examples/brainf/ir.ts";
import { Command, parse } from "../../examples/brainf/parser.ts";
import { ProgramError } from "../../examples/brainf/program-error.ts";

function errorOf(source: string): { line: number; column: number; reason: string } {
  try {
    parse(source);
  } catch (error) {
    if (error instanceof ProgramError)
      return { line: error.line, column: error.column, reason: error.reason };
    throw error;
  }
  assert.fail(`No error in ${JSON.stringify(source)}`);
}

function opsOf(source: string): number[] {
  const { code } = optimise(parse(source));
  return [...code].filter((_, index) => index % STRIDE === 0);
}

test("brackets find their partners, and everything else is a comment", () => {
  const program = parse("a + [ b > [ - ] c ]\n.");
  const { Increment, Open, Right, Decrement, Close, Output } = Command;
  assert.deepEqual([...program.commands], [Increment, Open, Right, Open, Decrement, Close, Close, Output]);
  assert.deepEqual([...program.partners], [-1, 6, -1, 5, -1, 3, 1, -1]);
  assert.equal(program.source.charAt(program.offsets[7] ?? -1), ".");
});

test("a stray closing bracket is reported at its line and column", () => {
  assert.deepEqual(errorOf("++\n[-]\n  ]  ["), { line: 3, column: 3, reason: 'this "]" closes no "["' });
});

test("an open bracket is reported at the innermost one that nothing closes", () => {
  assert.deepEqual(errorOf("[\n [ + ] [\n"), { line: 2, column: 8, reason: 'this "[" is never closed' });
});

test("columns count characters as an editor does, and a carriage return belongs to its line", () => {
  const { line, column } = errorOf("one\r\n\u{1f600}é]");
  assert.deepEqual({ line, column }, { line: 2, column: 3 });
});

test("an empty program is a program", () => {
  assert.deepEqual(opsOf("nothing at all"), [Op.End]);
});

test("loops that are arithmetic become arithmetic", () => {
  assert.deepEqual(opsOf("[-]"), [Op.Set, Op.End]);
  assert.deepEqual(opsOf("[+]+++"), [Op.Set, Op.End]);
  assert.deepEqual(opsOf("[->++<]"), [Op.SkipIfZero, Op.Guard, Op.AddProduct, Op.Set, Op.End]);
  assert.deepEqual(opsOf(">[-<+>]"), [Op.Guard, Op.AddProduct, Op.Set, Op.Move, Op.End]);
  assert.deepEqual(opsOf("[>>]"), [Op.Scan, Op.End]);
});

test("loops that may not end stay loops", () => {
  assert.deepEqual(opsOf("[--]"), [Op.Open, Op.Add, Op.Close, Op.End]);
  assert.deepEqual(opsOf("[]"), [Op.Open, Op.Close, Op.End]);
  assert.deepEqual(opsOf("[<>]"), [Op.Open, Op.Guard, Op.Close, Op.End]);
});

test("a loop that leaves its cell at 0 is a condition", () => {
  assert.deepEqual(opsOf("[[-]>+<]"), [Op.If, Op.Guard, Op.Set, Op.Add, Op.End]);
  assert.deepEqual(opsOf("[[-]>.<+]"), [Op.Open, Op.Guard, Op.Set, Op.Output, Op.Add, Op.Close, Op.End]);
});
