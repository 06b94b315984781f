/**
 * Reads where a function keeps its return address and the registers it saved, from the instructions at its two ends.
 *
 * Debuggers and profilers walk a stack by a table of such facts (call frame information). A compiler knows them and can
 * pass them with the code; for all other code they are read from the machine code. A function begins with few kinds of
 * instructions that move the stack pointer: reading stops at the first other one, and what was found holds from there to
 * the return at the end. For x86-64 the return's own instructions are recognised if they undo the beginning exactly. A
 * function that moves its stack pointer in between, or returns in several places, is described wrongly there.
 *
 * The numbers of registers and operations are those of DWARF 4, section 6.4, and of its supplements for the processors.
 */
import type { ProcessorName } from "../base/platform.ts";
import { ByteWriter } from "./byte-writer.ts";

/** DWARF's operations on a table of call frames. */
const Op = {
  advance: 0x40,
  offset: 0x80,
  advance1: 2,
  advance2: 3,
  advance4: 4,
  defCfa: 0x0c,
  defCfaOffset: 0x0e,
} as const;

/** By the processor's own number of a register: DWARF's. */
const X64_REGISTERS = [0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15] as const;
const RSP = 4;
const RBP = 5;
/** DWARF's. */
const X64 = { rsp: 7, rbp: 6, returnSize: 8 } as const;
const ARM64 = { x29: 29, x30: 30 } as const;

/** Used again for each function: its memory takes longer to get than to fill. */
const rowsWriter = new ByteWriter();

/** Writes the rows of a table. */
class FrameRows {
  readonly #out = rowsWriter;
  readonly #codeAlignment: number;
  #position = 0;

  constructor(codeAlignment: number) {
    this.#codeAlignment = codeAlignment;
    rowsWriter.clear();
  }

  /** What follows holds from this byte of the code on. */
  moveTo(position: number): void {
    const delta = (position - this.#position) / this.#codeAlignment;
    this.#position = position;
    if (delta === 0) return;
    const out = this.#out;
    if (delta < 0x40) {
      out.u8(Op.advance | delta);
    } else if (delta < 0x100) {
      out.u8(Op.advance1);
      out.u8(delta);
    } else if (delta < 0x1_0000) {
      out.u8(Op.advance2);
      out.u16(delta);
    } else {
      out.u8(Op.advance4);
      out.u32(delta);
    }
  }

  /** The frame begins (its "canonical frame address") at `register` + `offset`. */
  frameAt(register: number, offset: number): void {
    this.#out.u8(Op.defCfa);
    this.#number(register);
    this.#number(offset);
  }

  frameOffset(offset: number): void {
    this.#out.u8(Op.defCfaOffset);
    this.#number(offset);
  }

  /** A register was saved `bytesBelow` the frame's beginning. */
  savedAt(register: number, bytesBelow: number): void {
    this.#out.u8(Op.offset | register);
    this.#number(bytesBelow / 8);
  }

  finish(): Uint8Array {
    return this.#out.bytes.slice();
  }

  /** An unsigned LEB128. */
  #number(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest >>>= 7) this.#out.u8((rest & 0x7f) | 0x80);
    this.#out.u8(rest);
  }
}

/** The call frame instructions of a function; none where nothing is known of the processor. */
export function frameInstructions(code: Uint8Array, processor: ProcessorName): Uint8Array {
  if (processor === "x64") return readX64(code);
  if (processor === "arm64") return readArm64(code);
  return new Uint8Array(0);
}

/** One step of the way back: the bytes that undo a step of the prologue. */
interface Undo {
  readonly bytes: readonly number[];
  /** Bytes that the stack pointer moves. */
  readonly moves: number;
  /** Whether it gives the caller's frame pointer back. */
  readonly restoresFrame: boolean;
}

const RET: readonly number[] = [0xc3];
/** mov rsp, rbp; pop rbp */
const LEAVE = 0xc9;

function readX64(code: Uint8Array): Uint8Array {
  const rows = new FrameRows(1);
  const undo: Undo[] = [];
  let at = 0;
  /** Bytes from the stack pointer up to the frame's beginning. */
  let depth: number = X64.returnSize;
  let isFramed = false;
  const byte = (offset: number): number => code[at + offset] ?? -1;
  const moved = (length: number, bytes: number): void => {
    at += length;
    depth += bytes;
    rows.moveTo(at);
    if (!isFramed) rows.frameOffset(depth);
  };

  // endbr64, where an indirect branch may lead
  if (byte(0) === 0xf3 && byte(1) === 0x0f && byte(2) === 0x1e && byte(3) === 0xfa) at = 4;
  for (;;) {
    const prefix = byte(0) === 0x41 ? 1 : 0;
    const opcode = byte(prefix);
    if (opcode >= 0x50 && opcode <= 0x57) {
      // push
      const register = (opcode & 7) + 8 * prefix;
      const pop = [...(prefix === 1 ? [0x41] : []), opcode + 8];
      moved(1 + prefix, 8);
      if (register !== RSP) rows.savedAt(X64_REGISTERS[register] ?? 0, depth);
      undo.push({ bytes: pop, moves: 8, restoresFrame: register === RBP });
    } else if (isFrameMove(byte(0), byte(1), byte(2))) {
      at += 3; // mov rbp, rsp
      isFramed = true;
      rows.moveTo(at);
      rows.frameAt(X64.rbp, depth);
    } else if (byte(0) === 0x48 && byte(1) === 0x83 && byte(2) === 0xec && byte(3) < 0x80) {
      // sub rsp, imm8
      undo.push({ bytes: [0x48, 0x83, 0xc4, byte(3)], moves: byte(3), restoresFrame: false });
      moved(4, byte(3));
    } else if (byte(0) === 0x48 && byte(1) === 0x81 && byte(2) === 0xec && at + 7 <= code.length) {
      const bytes = byte(3) + 2 ** 8 * byte(4) + 2 ** 16 * byte(5) + 2 ** 24 * byte(6);
      if (bytes >= 2 ** 31) break;
      undo.push({
        bytes: [0x48, 0x81, 0xc4, ...code.subarray(at + 3, at + 7)],
        moves: bytes,
        restoresFrame: false,
      });
      moved(7, bytes);
    } else if (isPlainMove(byte(0), byte(1), byte(2))) {
      at += 3; // an argument is put into a register that was saved
    } else {
      break;
    }
  }
  readX64Return(code, at, rows, undo, depth, isFramed);
  return rows.finish();
}

/** `mov rbp, rsp`, in either of its encodings. */
function isFrameMove(rex: number, opcode: number, operands: number): boolean {
  return rex === 0x48 && ((opcode === 0x89 && operands === 0xe5) || (opcode === 0x8b && operands === 0xec));
}

/** A 64-bit move from register to register that leaves rsp and rbp as they are. */
function isPlainMove(rex: number, opcode: number, operands: number): boolean {
  if ((rex & 0xfa) !== 0x48 || (opcode !== 0x89 && opcode !== 0x8b) || operands < 0xc0) return false;
  const reg = ((operands >> 3) & 7) + ((rex & 4) !== 0 ? 8 : 0);
  const rm = (operands & 7) + ((rex & 1) !== 0 ? 8 : 0);
  const target = opcode === 0x89 ? rm : reg;
  return target !== RSP && target !== RBP;
}

/** Writes the rows of the instructions that end the code, where they are those that undo its beginning. */
function readX64Return(
  code: Uint8Array,
  from: number,
  rows: FrameRows,
  undo: readonly Undo[],
  depth: number,
  isFramed: boolean,
): void {
  let end = code.length;
  // What fills the rest of a span: int3, nop or nothing.
  while (end > from && [0xcc, 0x90, 0].includes(code[end - 1] ?? 0)) end--;
  const endsWith = (bytes: readonly number[], at: number): boolean =>
    at - bytes.length >= from && bytes.every((value, index) => code[at - bytes.length + index] === value);
  if (!endsWith(RET, end)) return;
  let at = end - RET.length;
  if (isFramed && endsWith([LEAVE], at)) {
    rows.moveTo(at);
    rows.frameAt(X64.rsp, X64.returnSize);
    return;
  }
  const steps: { readonly at: number; readonly undo: Undo }[] = [];
  for (const step of undo) {
    if (!endsWith(step.bytes, at)) break;
    steps.unshift({ at, undo: step });
    at -= step.bytes.length;
  }
  let left = steps.reduce<number>((sum, { undo: { moves } }) => sum + moves, X64.returnSize);
  if (!isFramed && left !== depth) return; // it comes back by another way
  let isStillFramed = isFramed;
  for (const { at: behind, undo: step } of steps) {
    left -= step.moves;
    rows.moveTo(behind);
    if (isStillFramed && step.restoresFrame) rows.frameAt(X64.rsp, left);
    else if (!isStillFramed) rows.frameOffset(left);
    if (step.restoresFrame) isStillFramed = false;
  }
}

/** The 32-bit instructions of AArch64 that begin functions, and the bits of each that are not operands. */
const Arm = {
  paciasp: 0xd503_233f,
  btiC: 0xd503_245f,
  subSp: { mask: 0xffc0_03ff, value: 0xd100_03ff },
  /** stp x29, x30, [sp, #-n]! */
  pushPair: { mask: 0xffc0_7fff, value: 0xa980_7bfd },
  /** stp x29, x30, [sp, #n] */
  storePair: { mask: 0xffc0_7fff, value: 0xa900_7bfd },
  /** mov x29, sp */
  setFrame: 0x9100_03fd,
} as const;

function readArm64(code: Uint8Array): Uint8Array {
  const rows = new FrameRows(4);
  const view = new DataView(code.buffer, code.byteOffset, code.length);
  const word = (at: number): number => (at + 4 <= code.length ? view.getUint32(at, true) : 0);
  const is = (value: number, pattern: { readonly mask: number; readonly value: number }): boolean =>
    (value & pattern.mask) >>> 0 === pattern.value;
  /** The pair's signed offset: seven bits, in units of 8 bytes. */
  const pairOffset = (value: number): number => ((value << 10) >> 25) * 8;
  let depth = 0;
  for (let at = 0; ; at += 4) {
    const instruction = word(at);
    if (instruction === Arm.paciasp || instruction === Arm.btiC) continue;
    rows.moveTo(at + 4);
    if (is(instruction, Arm.subSp)) {
      depth += (instruction >>> 10) & 0xfff;
      rows.frameOffset(depth);
    } else if (is(instruction, Arm.pushPair)) {
      depth -= pairOffset(instruction);
      rows.frameOffset(depth);
      rows.savedAt(ARM64.x29, depth);
      rows.savedAt(ARM64.x30, depth - 8);
    } else if (is(instruction, Arm.storePair)) {
      rows.savedAt(ARM64.x29, depth - pairOffset(instruction));
      rows.savedAt(ARM64.x30, depth - pairOffset(instruction) - 8);
    } else if (instruction === Arm.setFrame) {
      rows.frameAt(ARM64.x29, depth);
    } else {
      break;
    }
  }
  return rows.finish();
}
