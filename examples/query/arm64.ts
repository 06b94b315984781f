/** A filter as machine code of AArch64: NEON, two numbers at a time. */
import { Arm64Assembler, Condition, Label, SP } from "./arm64-assembler.ts";
import { ConstantPool } from "./constant-pool.ts";
import type { Column, Query } from "./expression.ts";
import { toVectorCode } from "./lower.ts";
import type { Source, Step } from "./registers.ts";
import { allocateRegisters } from "./registers.ts";
import type { Abilities, Operation } from "./vector-code.ts";

const LANES = 2;
const VECTOR_BYTES = 16;

/** Where the calling convention passes selection, count, from and to, which stay there. */
const [SELECTION, COUNT, ROW, LAST_ROW] = [0, 1, 2, 3];
/** The addresses of the columns, at the row at hand. The first four arrive there, the others on the stack. */
const COLUMNS = [4, 5, 6, 7, 8, 9] as const;
const COLUMNS_IN_REGISTERS = 4;
const [SCRATCH, SECOND_SCRATCH, POOL] = [10, 11, 12];

/** Registers that belong to no caller; the last two are for constants, and for what lies between two instructions. */
const VECTORS: readonly number[] = [
  0,
  1,
  2,
  3,
  4,
  5,
  6,
  7,
  ...Array.from({ length: 14 }, (_, index) => 16 + index),
];
const [VECTOR_SCRATCH, SECOND_VECTOR_SCRATCH] = [30, 31];

const ABILITIES: Abilities = { fused: true, truncates: true, selectsBySign: false };

const TWO = {
  add: "fadd",
  subtract: "fsub",
  multiply: "fmul",
  divide: "fdiv",
  "bit-and": "and",
  "bit-or": "orr",
  "mask-and": "and",
  "mask-or": "orr",
} as const;
const ONE = { negate: "fneg", absolute: "fabs", truncate: "frintz", "mask-not": "not" } as const;

class Emitter {
  readonly #to = new Arm64Assembler();
  readonly #pool = new ConstantPool(VECTOR_BYTES);
  readonly #columns: readonly Column[];

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
  }

  emit(query: Query): Uint8Array {
    const { steps, slotCount, result, doubtful } = allocateRegisters(toVectorCode(query, ABILITIES), {
      vectors: VECTORS,
    });
    const to = this.#to;
    const [next, done, stop, pool] = [new Label(), new Label(), new Label(), new Label()];
    const frameBytes = slotCount * VECTOR_BYTES;
    const leave = (): void => {
      if (frameBytes > 0) to.add64Immediate(SP, SP, frameBytes);
      to.return();
    };

    for (const [index, register] of COLUMNS.entries()) {
      if (index >= COLUMNS_IN_REGISTERS && index < this.#columns.length) {
        to.load64(register, SP, (index - COLUMNS_IN_REGISTERS) * 8);
      }
    }
    if (frameBytes > 0) to.add64Immediate(SP, SP, -frameBytes);
    for (const register of [COUNT, ROW, LAST_ROW]) to.move32(register, register);
    this.#eachColumn((register, bytesShift) => to.addShifted64(register, register, ROW, bytesShift));
    to.add64Immediate(LAST_ROW, LAST_ROW, -LANES);
    to.addressOf(POOL, pool);
    to.compare64(ROW, LAST_ROW);
    to.jumpIf(Condition.greater, done);

    to.bind(next);
    for (const step of steps) this.#step(step);
    if (doubtful !== undefined) {
      to.laneToRegister(SCRATCH, doubtful, 0);
      to.laneToRegister(SECOND_SCRATCH, doubtful, 1);
      to.or64(SCRATCH, SCRATCH, SECOND_SCRATCH);
      to.jumpIfNotZero64(SCRATCH, stop);
    }
    // Both rows are written. One that does not pass is written over by the next. A mask that holds is -1.
    to.store32Indexed(ROW, SELECTION, COUNT);
    to.laneToRegister(SCRATCH, result, 0);
    to.subtract64(COUNT, COUNT, SCRATCH);
    to.add32Immediate(SECOND_SCRATCH, ROW, 1);
    to.store32Indexed(SECOND_SCRATCH, SELECTION, COUNT);
    to.laneToRegister(SCRATCH, result, 1);
    to.subtract64(COUNT, COUNT, SCRATCH);
    this.#eachColumn((register, bytesShift) => to.add64Immediate(register, register, LANES << bytesShift));
    to.add64Immediate(ROW, ROW, LANES);
    to.compare64(ROW, LAST_ROW);
    to.jumpIf(Condition.lessOrEqual, next);

    to.bind(done);
    to.move32(0, COUNT);
    leave();
    to.bind(stop);
    to.store32Indexed(ROW, SELECTION, COUNT);
    to.not32(0, COUNT);
    leave();
    to.align(VECTOR_BYTES);
    to.bind(pool);
    return this.#pool.behind(to.toBytes(), VECTOR_BYTES);
  }

  #eachColumn(action: (register: number, bytesShift: number) => void): void {
    for (const [index, { type }] of this.#columns.entries()) {
      action(columnRegister(index), type === "f64" ? 3 : 2);
    }
  }

  #step(step: Step): void {
    const to = this.#to;
    if (step.kind === "operation") this.#operation(step.operation, step.target, step.sources);
    else if (step.kind === "spill") to.storeVector(step.register, SP, step.slot * VECTOR_BYTES);
    else to.loadVector(step.register, SP, step.slot * VECTOR_BYTES);
  }

  #operation(operation: Operation, target: number, [first, second, third]: readonly Source[]): void {
    const to = this.#to;
    switch (operation.kind) {
      case "constant":
        break; // Whoever uses it finds it in the pool.
      case "column":
        if (this.#columns[operation.index]?.type === "f64") {
          to.loadVector(target, columnRegister(operation.index), 0);
        } else {
          to.loadHalfVector(target, columnRegister(operation.index));
          to.one("sshll", target, target);
          to.one("scvtf", target, target);
        }
        break;
      case "negate":
      case "absolute":
      case "truncate":
      case "mask-not":
        to.one(ONE[operation.kind], target, this.#vector(first, VECTOR_SCRATCH));
        break;
      case "subtract-product": {
        const minuend = this.#vector(third, VECTOR_SCRATCH);
        to.two("orr", target, minuend, minuend);
        to.two(
          "fmls",
          target,
          this.#vector(first, VECTOR_SCRATCH),
          this.#vector(second, SECOND_VECTOR_SCRATCH),
        );
        break;
      }
      case "add-where":
      case "subtract-where": {
        const masked = this.#vector(second, VECTOR_SCRATCH);
        to.two("and", target, masked, this.#vector(third, SECOND_VECTOR_SCRATCH));
        const name = operation.kind === "add-where" ? "fadd" : "fsub";
        to.two(name, target, this.#vector(first, VECTOR_SCRATCH), target);
        break;
      }
      case "subtract-once":
        throw new TypeError("NEON selects by no signs");
      case "compare": {
        const left = this.#vector(first, VECTOR_SCRATCH);
        const right = this.#vector(second, SECOND_VECTOR_SCRATCH);
        const { operator } = operation;
        if (operator === "==" || operator === "!=") {
          to.two("fcmeq", target, left, right);
          if (operator === "!=") to.one("not", target, target);
        } else {
          const isGreater = operator === ">" || operator === ">=";
          const name = operator === ">" || operator === "<" ? "fcmgt" : "fcmge";
          to.two(name, target, ...(isGreater ? ([left, right] as const) : ([right, left] as const)));
        }
        break;
      }
      default:
        to.two(
          TWO[operation.kind],
          target,
          this.#vector(first, VECTOR_SCRATCH),
          this.#vector(second, SECOND_VECTOR_SCRATCH),
        );
    }
  }

  /** The register of an operand; constants come into the scratch register. */
  #vector(source: Source | undefined, scratch: number): number {
    if (source === undefined) throw new TypeError("An operand is missing");
    if (source.kind === "register") return source.register;
    this.#to.loadVector(scratch, POOL, this.#pool.double(source.value));
    return scratch;
  }
}

function columnRegister(index: number): number {
  const register = COLUMNS[index];
  if (register === undefined) throw new RangeError(`There is no column ${index}`);
  return register;
}

/** NEON, as a target of filters. */
export const arm64 = {
  name: "NEON",
  lanes: LANES,
  toCode: (query: Query): Uint8Array => new Emitter(query.columns).emit(query),
};
