/** What one step of vector code is on x86-64, for vectors of every width. */
import { Code, Register } from "iced-x86";
import type { ComparisonOperator } from "./expression.ts";
import type { Source, Step } from "./registers.ts";
import type { Operation } from "./vector-code.ts";
import type { Memory, Operand } from "./x64-assembler.ts";
import type { Shape } from "./x64-codes.ts";
import { masks, numbered } from "./x64-registers.ts";
import type { ColumnPlace, X64Output } from "./x64-set.ts";
import { inPool, Role } from "./x64-set.ts";

/** Two registers that a step may use for itself: they take constants, and what lies between two instructions. */
const SCRATCH = 13;
const SECOND_SCRATCH = 12;

/** The registers that values may have. */
export const VECTOR_REGISTERS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

const SIGN_BITS = 0x8000_0000_0000_0000n;
const MAGNITUDE_BITS = 0x7fff_ffff_ffff_ffffn;
const ALL_BITS = 0xffff_ffff_ffff_ffffn;
const TOWARDS_ZERO = 3;

const CODES = {
  add: "add",
  subtract: "subtract",
  multiply: "multiply",
  divide: "divide",
  "bit-and": "and",
  "bit-or": "or",
  "mask-and": "and",
  "mask-or": "or",
} as const;

/** Each is false for NaN, but that NaN differs from everything. The oldest processors have none for > and >=. */
const PREDICATES: Readonly<Record<ComparisonOperator, number>> = {
  "==": 0,
  "<": 1,
  "<=": 2,
  "!=": 4,
  ">=": 13,
  ">": 14,
};
const MIRRORED: Readonly<Partial<Record<ComparisonOperator, ComparisonOperator>>> = { ">": "<", ">=": "<=" };

class StepEmitter {
  readonly #shape: Shape;
  readonly #output: X64Output;

  constructor(shape: Shape, output: X64Output) {
    this.#shape = shape;
    this.#output = output;
  }

  emit(step: Step): void {
    if (step.kind === "operation") {
      this.#operation(step.operation, step.target, step.sources);
      return;
    }
    const place: Memory = { base: Register.RSP, displacement: step.slot * this.#shape.vectorBytes };
    const isMask = step.isMask && this.#shape.hasMasks;
    const held = isMask ? this.#maskRegister(step.register) : this.#vector(step.register);
    if (step.kind === "spill") this.#emit(isMask ? Code.VEX_Kmovw_m16_kr : this.#shape.store, place, held);
    else this.#emit(isMask ? Code.VEX_Kmovw_kr_km16 : this.#shape.load, held, place);
  }

  #operation(operation: Operation, targetNumber: number, [first, second, third]: readonly Source[]): void {
    const shape = this.#shape;
    const target = this.#vector(targetNumber);
    switch (operation.kind) {
      case "constant":
        break; // Whoever uses it finds it in the pool.
      case "column":
        this.#column(target, this.#output.columns[operation.index]);
        break;
      case "negate":
        this.#three(shape.xor, target, this.#operand(first), this.#bits(SIGN_BITS));
        break;
      case "absolute":
        this.#three(shape.and, target, this.#operand(first), this.#bits(MAGNITUDE_BITS));
        break;
      case "truncate":
        this.#emit(needed(shape.round), target, this.#operand(first), { immediate: TOWARDS_ZERO });
        break;
      case "subtract-product":
        this.#emit(shape.load, target, this.#operand(third));
        this.#emit(
          needed(shape.subtractProduct),
          target,
          this.#inRegister(this.#operand(first)),
          this.#operand(second),
        );
        break;
      case "add-where":
      case "subtract-where": {
        const code = operation.kind === "add-where" ? shape.add : shape.subtract;
        this.#where(code, target, this.#operand(first), this.#operand(second), this.#mask(third));
        break;
      }
      case "subtract-once":
        this.#subtractOnce(target, this.#inRegister(this.#operand(first)), this.#operand(second));
        break;
      case "compare":
        this.#compare(operation.operator, targetNumber, first, second);
        break;
      case "mask-not":
        if (shape.hasMasks)
          this.#emit(Code.VEX_Knotb_kr_kr, this.#maskRegister(targetNumber), this.#mask(first));
        else this.#three(shape.xor, target, this.#mask(first), this.#bits(ALL_BITS));
        break;
      case "mask-and":
      case "mask-or": {
        const [left, right] = [this.#mask(first), this.#mask(second)];
        if (shape.hasMasks) {
          const code = operation.kind === "mask-and" ? Code.VEX_Kandb_kr_kr_kr : Code.VEX_Korb_kr_kr_kr;
          this.#emit(code, this.#maskRegister(targetNumber), left, right);
        } else {
          this.#three(shape[CODES[operation.kind]], target, left, right);
        }
        break;
      }
      default:
        this.#three(shape[CODES[operation.kind]], target, this.#operand(first), this.#operand(second));
    }
  }

  #column(target: Register, column: ColumnPlace | undefined): void {
    if (column === undefined) throw new RangeError("There is no such column");
    const { register: base, type } = column;
    const isDouble = type === "f64";
    const place: Memory = { base, index: Role.row, scale: isDouble ? 8 : 4, displacement: 0 };
    this.#emit(isDouble ? this.#shape.load : this.#shape.loadIntegers, target, place);
  }

  #where(code: Code, target: Register, left: Operand, right: Operand, mask: Register): void {
    const { hasMasks, load, and } = this.#shape;
    if (hasMasks) {
      const minuend = this.#inRegister(left);
      this.#emit(load, target, minuend);
      this.#output.assembler.emitMasked({ mask, zeroing: false }, code, target, minuend, right);
    } else {
      const difference = this.#vector(SECOND_SCRATCH);
      this.#three(and, difference, mask, right);
      this.#three(code, target, left, difference);
    }
  }

  #subtractOnce(target: Register, minuend: Register, subtrahend: Operand): void {
    const { subtract, selectBySign, leastUnsigned } = this.#shape;
    this.#emit(subtract, target, minuend, subtrahend);
    if (leastUnsigned === undefined) this.#emit(needed(selectBySign), target, target, minuend, target);
    else this.#emit(leastUnsigned, target, target, minuend);
  }

  #compare(
    operator: ComparisonOperator,
    targetNumber: number,
    left: Source | undefined,
    right: Source | undefined,
  ): void {
    const mirrored = this.#shape.hasTarget ? undefined : MIRRORED[operator];
    const [first, second] = mirrored === undefined ? [left, right] : [right, left];
    const target = this.#shape.hasMasks ? this.#maskRegister(targetNumber) : this.#vector(targetNumber);
    const predicate = { immediate: PREDICATES[mirrored ?? operator] };
    this.#three(this.#shape.compare, target, this.#operand(first), this.#operand(second), predicate);
  }

  /** An instruction with a target and two operands, of which the second may lie in memory. */
  #three(code: Code, target: Register, left: Operand, right: Operand, ...rest: readonly Operand[]): void {
    if (this.#shape.hasTarget) {
      this.#emit(code, target, this.#inRegister(left), right, ...rest);
    } else {
      this.#emit(this.#shape.load, target, left);
      this.#emit(code, target, right, ...rest);
    }
  }

  #inRegister(operand: Operand): Register {
    if (typeof operand === "number") return operand;
    const register = this.#vector(SCRATCH);
    this.#emit(this.#shape.load, register, operand);
    return register;
  }

  #operand(source: Source | undefined): Operand {
    return source?.kind === "constant"
      ? inPool(this.#output.pool.double(source.value))
      : this.#vector(registerOf(source));
  }

  #mask(source: Source | undefined): Register {
    const register = registerOf(source);
    return this.#shape.hasMasks ? this.#maskRegister(register) : this.#vector(register);
  }

  #bits(bits: bigint): Memory {
    return inPool(this.#output.pool.bits(bits));
  }

  #vector(number: number): Register {
    return numbered(this.#shape.registers, number);
  }

  #maskRegister(number: number): Register {
    return numbered(masks, number);
  }

  #emit(code: Code, ...operands: readonly Operand[]): void {
    this.#output.assembler.emit(code, ...operands);
  }
}

function registerOf(source: Source | undefined): number {
  if (source?.kind !== "register") throw new TypeError("This operand is in no register");
  return source.register;
}

function needed(code: Code | undefined): Code {
  if (code === undefined) throw new TypeError("This instruction set has no such instruction");
  return code;
}

/** Appends the instructions of the steps. */
export function emitSteps(steps: readonly Step[], shape: Shape, output: X64Output): void {
  const emitter = new StepEmitter(shape, output);
  for (const step of steps) emitter.emit(step);
}
