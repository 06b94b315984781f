import type { Ir, Loop } from "./ir.ts";

/**
 * Deeper than this, loops are compiled in line: each call takes some of the stack, and a program may nest as deep as it
 * likes.
 */
const MAX_CALL_DEPTH = 64;

/** A loop that is compiled to a function of its own. */
export interface LoopFunction {
  readonly loop: Loop;
  /** The outermost loop around it, or itself: a nest is compiled at once. */
  readonly nest: Loop;
  /** Instructions that are compiled into it: those of its loop without those of loops that it calls. */
  readonly instructions: number;
  /** The loops whose code is in it: its own, and those compiled in line. */
  readonly loops: readonly Loop[];
}

/**
 * Divides a program into functions. A loop that has no loop inside is compiled in line, for it would be called more often
 * than anything else; every other loop, and every outermost one, is a function that the loop around it calls.
 * @returns for each loop, by its index, the function that has its code.
 */
export function divide(ir: Ir): readonly LoopFunction[] {
  interface Growing extends LoopFunction {
    readonly depth: number;
    readonly loops: Loop[];
    instructions: number;
  }
  const homes: Growing[] = new Array<Growing>(ir.loops.length);
  /** The loops around the one that is looked at, from the outermost on. */
  const around: Loop[] = [];
  // Loops are in the order of their ends: from the last on, each comes behind the loop that it lies in.
  for (const loop of ir.loops.toReversed()) {
    while ((around.at(-1)?.open ?? 0) > loop.close) around.pop();
    const parent = around.at(-1);
    const outer = parent === undefined ? undefined : homes[parent.index];
    // If any loops lie in this one, the last of them is the one before it.
    const hasLoops = (ir.loops[loop.index - 1]?.open ?? 0) > loop.open;
    around.push(loop);
    if (outer !== undefined && (!hasLoops || outer.depth + 1 >= MAX_CALL_DEPTH)) {
      outer.loops.push(loop);
      homes[loop.index] = outer;
      continue;
    }
    const instructions = loop.close - loop.open;
    if (outer !== undefined) outer.instructions -= instructions;
    const depth = outer === undefined ? 0 : outer.depth + 1;
    homes[loop.index] = { loop, nest: outer?.nest ?? loop, instructions, loops: [loop], depth };
  }
  return homes;
}
