import type { Program } from "./parser.ts";
import { Command } from "./parser.ts";

/**
 * The instructions of the intermediate representation. `p` is the pointer, `t` the tape; operands a, b, c.
 *
 * A stretch of commands without loops becomes a block: one Guard for all of its pointer movements, then work
 * at offsets from a pointer that stands still, then one Move. Loops that clear a cell, or add multiples of it to others,
 * become arithmetic modulo 256.
 */
export const Op = {
  /** The program is over. */
  End: 0,
  /** Off the tape unless 0 ≤ p + a and p + b < cells; precise execution would stand at p + c here. */
  Guard: 1,
  /** If t[p + a] is 0, skip the next b instructions: a multiplication that does not happen moves nothing. */
  SkipIfZero: 2,
  /** p += a */
  Move: 3,
  /** t[p + a] += b */
  Add: 4,
  /** t[p + a] = b */
  Set: 5,
  /** t[p + b] += t[p + a] × c */
  AddProduct: 6,
  /** output t[p + a] */
  Output: 7,
  /** t[p + a] = input */
  Input: 8,
  /** p += a until t[p] is 0 */
  Scan: 9,
  /** If t[p] is 0, go to a (behind the loop's Close); b is the loop's index. */
  Open: 10,
  /** If t[p] is not 0, go to a (behind the loop's Open); b is the loop's index. */
  Close: 11,
  /** If t[p] is 0, go to a: an Open whose loop ends with t[p] at 0, so that it needs no Close. */
  If: 12,
} as const;

/** Entries an instruction takes in {@link Ir.code}: the operation and three operands; a power of two to index fast. */
export const STRIDE = 4;

/** A loop that stayed a loop. Its instructions are those from `open` to `close`, both included. */
export interface Loop {
  readonly index: number;
  /** The instruction of its Open. */
  readonly open: number;
  /** The instruction of its Close. */
  readonly close: number;
}

/** An optimised program. */
export interface Ir {
  readonly program: Program;
  /** {@link STRIDE} entries an instruction: Op, a, b, c. */
  readonly code: Int32Array;
  /** For each instruction the command at which precise execution would stand with the same state. */
  readonly commands: Int32Array;
  readonly loops: readonly Loop[];
}

/** Turns a program into its intermediate representation. */
export function optimise(program: Program): Ir {
  return new Optimiser(program).run();
}

interface Instruction {
  op: number;
  a: number;
  b: number;
  c: number;
  command: number;
}

class Optimiser {
  readonly #program: Program;
  readonly #instructions: Instruction[] = [];
  readonly #loops: Loop[] = [];

  // The block being gathered: its instructions, where the pointer stands in it, and how far it strayed.
  #block: Instruction[] = [];
  #blockCommand = 0;
  #offset = 0;
  #lowest = 0;
  #highest = 0;

  constructor(program: Program) {
    this.#program = program;
  }

  run(): Ir {
    const { commands, partners } = this.#program;
    /** The instructions of the loops that are open. */
    const opens: number[] = [];
    for (let command = 0; command < commands.length; command++) {
      switch (commands[command]) {
        case Command.Increment:
          this.#add(1, command);
          break;
        case Command.Decrement:
          this.#add(-1, command);
          break;
        case Command.Right:
          this.#moveBy(1);
          break;
        case Command.Left:
          this.#moveBy(-1);
          break;
        case Command.Output:
          this.#block.push({ op: Op.Output, a: this.#offset, b: 0, c: 0, command });
          break;
        case Command.Input:
          this.#block.push({ op: Op.Input, a: this.#offset, b: 0, c: 0, command });
          break;
        case Command.Open: {
          const close = partners[command] ?? 0;
          const body = summarise(commands, command + 1, close);
          if (body !== undefined && this.#multiply(body, command)) {
            command = close;
          } else if (body?.isScan === true) {
            this.#endBlock(command);
            this.#emit(Op.Scan, body.move, 0, 0, command);
            this.#startBlock(close + 1);
            command = close;
          } else {
            this.#endBlock(command);
            opens.push(this.#emit(Op.Open, 0, 0, 0, command));
            this.#startBlock(command + 1);
          }
          break;
        }
        case Command.Close: {
          const isZero = this.#isKnownZero();
          this.#endBlock(command);
          const open = opens.pop();
          if (open === undefined) throw new Error("The parser let an unbalanced bracket through");
          this.#closeLoop(open, isZero, command);
          this.#startBlock(command + 1);
          break;
        }
      }
    }
    this.#endBlock(commands.length);
    this.#emit(Op.End, 0, 0, 0, commands.length);
    return {
      program: this.#program,
      code: Int32Array.from(this.#instructions.flatMap(({ op, a, b, c }) => [op, a, b, c])),
      commands: Int32Array.from(this.#instructions.map(({ command }) => command)),
      loops: this.#loops,
    };
  }

  /** Appends an instruction and returns its index. */
  #emit(op: number, a: number, b: number, c: number, command: number): number {
    return this.#instructions.push({ op, a, b, c, command }) - 1;
  }

  #closeLoop(open: number, isZero: boolean, command: number): void {
    const opening = this.#instructions[open];
    if (opening === undefined) return;
    if (isZero) {
      opening.op = Op.If;
    } else {
      const index = this.#loops.length;
      const close = this.#emit(Op.Close, open + 1, index, 0, command);
      opening.b = index;
      this.#loops.push({ index, open, close });
    }
    opening.a = this.#instructions.length;
  }

  /** True where the block has set the cell pointed at to 0 and not changed it since. */
  #isKnownZero(): boolean {
    const lastWrite = this.#block.findLast(({ op, a, b }) => {
      if (op === Op.AddProduct) return b === this.#offset;
      return (op === Op.Set || op === Op.Add || op === Op.Input) && a === this.#offset;
    });
    return lastWrite?.op === Op.Set && lastWrite.b === 0;
  }

  #startBlock(command: number): void {
    this.#block = [];
    this.#blockCommand = command;
    this.#offset = this.#lowest = this.#highest = 0;
  }

  #endBlock(command: number): void {
    const lowest = this.#lowest;
    const highest = this.#highest;
    if (lowest < 0 || highest > 0) this.#emit(Op.Guard, lowest, highest, 0, this.#blockCommand);
    for (let index = 0; index < this.#block.length; index++) {
      const instruction = this.#block[index];
      if (instruction === undefined) break;
      const guard = this.#block[index + 1];
      const isCovered = guard?.op === Op.Guard && guard.a >= lowest && guard.b <= highest;
      // A part that the block's own guard covers needs neither a second guard nor the jump around it.
      if (instruction.op === Op.SkipIfZero && isCovered) index++;
      else this.#instructions.push(instruction);
    }
    if (this.#offset !== 0) this.#emit(Op.Move, this.#offset, 0, 0, command);
    this.#startBlock(command);
  }

  #moveBy(delta: number): void {
    this.#offset += delta;
    this.#lowest = Math.min(this.#lowest, this.#offset);
    this.#highest = Math.max(this.#highest, this.#offset);
  }

  /** Adds to the cell at the current offset; folds into an earlier Add or Set that nothing has read since. */
  #add(delta: number, command: number): void {
    for (let index = this.#block.length - 1; index >= 0; index--) {
      const earlier = this.#block[index];
      if (earlier === undefined) break;
      const isFoldable = earlier.op === Op.Add || earlier.op === Op.Set;
      if (isFoldable && earlier.a === this.#offset) {
        earlier.b = (earlier.b + delta) & 0xff;
        if (earlier.op === Op.Add && earlier.b === 0) this.#block.splice(index, 1);
        return;
      }
      // Only sums of other cells may be passed over: everything else reads a cell, or may stop.
      if (!isFoldable) break;
    }
    this.#block.push({ op: Op.Add, a: this.#offset, b: delta & 0xff, c: 0, command });
  }

  /**
   * A balanced loop that changes its own cell by an odd number runs cell × −1/change times (mod 256), and adds to each
   * other cell that often.
   * @returns false if the loop is not of that kind.
   */
  #multiply(body: LoopBody, command: number): boolean {
    const change = body.changes.get(0) ?? 0;
    if (body.isScan || body.move !== 0 || change % 2 === 0) return false;
    const counter = this.#offset;
    const timesPerUnit = -inverseModulo256(change);
    const products: Instruction[] = [];
    for (const [offset, delta] of body.changes) {
      const factor = (delta * timesPerUnit) & 0xff;
      if (offset === 0 || factor === 0) continue;
      products.push({ op: Op.AddProduct, a: counter, b: counter + offset, c: factor, command });
    }
    if (body.lowest < 0 || body.highest > 0) {
      const [a, b] = [counter + body.lowest, counter + body.highest];
      this.#block.push({ op: Op.SkipIfZero, a: counter, b: products.length + 1, c: 0, command });
      this.#block.push({ op: Op.Guard, a, b, c: counter, command });
    }
    this.#block.push(...products);
    this.#block.push({ op: Op.Set, a: counter, b: 0, c: 0, command });
    return true;
  }
}

/** What a loop body without loops, input and output does. */
interface LoopBody {
  /** Where the pointer ends, relative to where it began. */
  readonly move: number;
  readonly lowest: number;
  readonly highest: number;
  /** What is added to the cell at each offset. */
  readonly changes: ReadonlyMap<number, number>;
  /** True for a body of `>` only or `<` only. */
  readonly isScan: boolean;
}

function summarise(commands: Uint8Array, start: number, end: number): LoopBody | undefined {
  const changes = new Map<number, number>();
  let [move, lowest, highest] = [0, 0, 0];
  for (let index = start; index < end; index++) {
    switch (commands[index]) {
      case Command.Increment:
        changes.set(move, (changes.get(move) ?? 0) + 1);
        break;
      case Command.Decrement:
        changes.set(move, (changes.get(move) ?? 0) - 1);
        break;
      case Command.Right:
        highest = Math.max(highest, ++move);
        break;
      case Command.Left:
        lowest = Math.min(lowest, --move);
        break;
      default:
        return undefined;
    }
  }
  const isScan = end > start && changes.size === 0 && Math.abs(move) === end - start;
  return { move, lowest, highest, changes, isScan };
}

/** The number that times `odd` is 1 modulo 256. */
function inverseModulo256(odd: number): number {
  // odd × odd is 1 modulo 8; each step of Newton's doubles the bits that are right: 3, 6, 12.
  const first = odd * (2 - odd * odd);
  return (first * (2 - odd * first)) & 0xff;
}
