/** A filter as machine code of x86-64. */
import { Code, Register } from "iced-x86";
import { ConstantPool } from "./constant-pool.ts";
import type { Query } from "./expression.ts";
import { toVectorCode } from "./lower.ts";
import { allocateRegisters } from "./registers.ts";
import { X64Assembler } from "./x64-assembler.ts";
import { xmm } from "./x64-registers.ts";
import type { ColumnPlace, X64Output, X64Set } from "./x64-set.ts";
import { Role } from "./x64-set.ts";
import { emitSteps } from "./x64-step.ts";

/** Where the pool begins behind the code: at a multiple of the longest vector. */
const POOL_ALIGNMENT = 64;

/** Those of columns. The last of them belong to the caller, and are saved. */
const COLUMN_REGISTERS = [
  Register.R8,
  Register.R9,
  Register.RBX,
  Register.R12,
  Register.R13,
  Register.R14,
] as const;
const SAVED_REGISTERS: readonly Register[] = [Register.RBX, Register.R12, Register.R13, Register.R14];

/** How a calling convention passes selection, count, from, to and the columns. */
interface Convention {
  /** Moves the first four to their roles, in an order that loses none; what has 32 bits is extended by zeros. */
  readonly moves: readonly (readonly [Code, Register, Register])[];
  /** How many columns arrive in the registers that they have anyway. */
  readonly columnsInRegisters: number;
  /** From the stack pointer at the entry to the first parameter on the stack. */
  readonly stackOffset: number;
  /** The caller's registers besides {@link SAVED_REGISTERS}. */
  readonly saved: readonly Register[];
  readonly savedVectors: readonly Register[];
}

const systemV: Convention = {
  moves: [
    [Code.Mov_r32_rm32, Role.count32, Register.ESI],
    [Code.Mov_r32_rm32, Role.row32, Register.EDX],
    [Code.Mov_r32_rm32, Role.lastRow32, Register.ECX],
  ],
  columnsInRegisters: 2,
  stackOffset: 8,
  saved: [],
  savedVectors: [],
};

const windows: Convention = {
  moves: [
    [Code.Mov_r64_rm64, Role.selection, Register.RCX],
    [Code.Mov_r32_rm32, Role.count32, Register.EDX],
    [Code.Mov_r32_rm32, Role.row32, Register.R8D],
    [Code.Mov_r32_rm32, Role.lastRow32, Register.R9D],
  ],
  columnsInRegisters: 0,
  // The return address, and the room for four registers that every caller leaves.
  stackOffset: 40,
  saved: [Register.RDI, Register.RSI],
  savedVectors: xmm.slice(6),
};

/** What the function saves, and where it has its slots. */
class Frame {
  readonly #assembler: X64Assembler;
  readonly #convention: Convention;
  readonly #saved: readonly Register[];
  readonly #slotBytes: number;
  readonly #sizeBytes: number;

  constructor({ assembler, columns }: X64Output, convention: Convention, slotBytes: number) {
    this.#assembler = assembler;
    this.#convention = convention;
    const used = SAVED_REGISTERS.filter((name) => columns.some(({ register }) => register === name));
    this.#saved = [...convention.saved, ...used];
    this.#slotBytes = slotBytes;
    this.#sizeBytes = slotBytes + convention.savedVectors.length * 16;
  }

  enter(columns: readonly ColumnPlace[]): void {
    const { moves, columnsInRegisters, stackOffset } = this.#convention;
    for (const register of this.#saved) this.#assembler.emit(Code.Push_r64, register);
    for (const move of moves) this.#assembler.emit(...move);
    const firstColumn = stackOffset + this.#saved.length * 8;
    for (const [index, { register }] of columns.slice(columnsInRegisters).entries()) {
      const place = { base: Register.RSP, displacement: firstColumn + index * 8 };
      this.#assembler.emit(Code.Mov_r64_rm64, register, place);
    }
    this.#moveStack(Code.Sub_rm64_imm32);
    for (const [place, register] of this.#vectorPlaces()) {
      this.#assembler.emit(Code.Movups_xmmm128_xmm, place, register);
    }
  }

  leave(): void {
    for (const [place, register] of this.#vectorPlaces()) {
      this.#assembler.emit(Code.Movups_xmm_xmmm128, register, place);
    }
    this.#moveStack(Code.Add_rm64_imm32);
    for (const register of this.#saved.toReversed()) this.#assembler.emit(Code.Pop_r64, register);
    this.#assembler.emit(Code.Retnq);
  }

  #vectorPlaces() {
    return this.#convention.savedVectors.map(
      (register, index) =>
        [{ base: Register.RSP, displacement: this.#slotBytes + index * 16 }, register] as const,
    );
  }

  #moveStack(code: Code): void {
    if (this.#sizeBytes > 0) this.#assembler.emit(code, Register.RSP, { immediate: this.#sizeBytes });
  }
}

/** Machine code with its constants, which runs at any multiple of 64 bytes. */
export function toX64Code(query: Query, set: X64Set, isWindows: boolean): Uint8Array {
  const { steps, slotCount, result, doubtful } = allocateRegisters(
    toVectorCode(query, set.abilities),
    set.files,
  );
  const columns = query.columns.map(({ type }, index): ColumnPlace => {
    const register = COLUMN_REGISTERS[index];
    if (register === undefined) throw new RangeError("There are more columns than registers");
    return { type, register };
  });
  const assembler = new X64Assembler();
  const pool = new ConstantPool(set.shape.vectorBytes);
  const output = { assembler, pool, columns };
  const frame = new Frame(output, isWindows ? windows : systemV, slotCount * set.shape.vectorBytes);
  const [next, done, leave, stop, end] = [
    assembler.label(),
    assembler.label(),
    assembler.label(),
    assembler.label(),
    assembler.label(),
  ];

  frame.enter(columns);
  assembler.emit(Code.Sub_rm64_imm8, Role.lastRow, { immediate: set.lanes });
  // The pool begins at the first multiple of its alignment behind the last byte, which is the one at the label.
  assembler.addressOf(Role.pool, end);
  assembler.emit(Code.Add_rm64_imm8, Role.pool, { immediate: POOL_ALIGNMENT });
  assembler.emit(Code.And_rm64_imm8, Role.pool, { immediate: -POOL_ALIGNMENT });
  set.begin(output);
  assembler.emit(Code.Cmp_r64_rm64, Role.row, Role.lastRow);
  assembler.branch(Code.Jg_rel32_64, done);

  assembler.bind(next);
  emitSteps(steps, set.shape, output);
  if (doubtful !== undefined) {
    set.testMask(doubtful, output);
    assembler.branch(Code.Jne_rel32_64, stop);
  }
  set.select(result, output);
  assembler.emit(Code.Add_rm64_imm8, Role.row, { immediate: set.lanes });
  assembler.emit(Code.Cmp_r64_rm64, Role.row, Role.lastRow);
  assembler.branch(Code.Jle_rel32_64, next);

  assembler.bind(done);
  assembler.emit(Code.Mov_r32_rm32, Role.scratch32, Role.count32);
  assembler.bind(leave);
  // Nothing, where the set has nothing to clear: the label then stands for what the frame restores first.
  set.end(output);
  frame.leave();

  if (doubtful !== undefined) {
    assembler.bind(stop);
    const selected = { base: Role.selection, index: Role.count, scale: 4, displacement: 0 } as const;
    assembler.emit(Code.Mov_rm32_r32, selected, Role.row32);
    assembler.emit(Code.Mov_r32_rm32, Role.scratch32, Role.count32);
    assembler.emit(Code.Not_rm32, Role.scratch32);
    assembler.branch(Code.Jmp_rel32_64, leave);
  }
  assembler.bind(end);
  return pool.behind(assembler.finish(), POOL_ALIGNMENT);
}
