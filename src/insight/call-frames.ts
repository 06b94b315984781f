/**
 * Describes the stack frame of one function as `.eh_frame` has it (Linux Standard Base, "Exception Frames"): a common part
 * (CIE), which says how a frame looks at a function's first instruction, and one for the function (FDE), which says from
 * which instruction on that changes.
 */
import type { ProcessorName } from "../base/platform.ts";
import type { Address } from "../ffi/contract.ts";
import { ByteWriter } from "./byte-writer.ts";

/** How a pointer is written (DW_EH_PE): eight bytes, or four that count from where they stand. */
export const Pointer = { absolute: 0x04, relative: 0x1b } as const;
type PointerKind = (typeof Pointer)[keyof typeof Pointer];

const NOP = 0;

interface FrameStart {
  readonly codeAlignment: number;
  readonly returnColumn: number;
  /** DWARF call frame instructions. */
  readonly instructions: readonly number[];
}

/** A frame at a function's first instruction. */
const FRAME_STARTS: Readonly<Record<ProcessorName, FrameStart>> = {
  // It begins 8 bytes above rsp (register 7), and the return address (column 16) lies right below that.
  x64: { codeAlignment: 1, returnColumn: 16, instructions: [0x0c, 7, 8, 0x80 | 16, 1] },
  // It begins at sp (register 31), and the return address is in x30.
  arm64: { codeAlignment: 4, returnColumn: 30, instructions: [0x0c, 31, 0] },
  other: { codeAlignment: 1, returnColumn: 0, instructions: [] },
};

/** The common part, by processor and kind of pointer: it is the same for all code. */
const commonParts = new Map<string, Uint8Array>();

function commonPart(processor: ProcessorName, pointer: PointerKind): Uint8Array {
  const key = `${processor} ${pointer}`;
  let part = commonParts.get(key);
  if (part === undefined) {
    const { codeAlignment, returnColumn, instructions } = FRAME_STARTS[processor];
    const out = new ByteWriter();
    out.u32(0); // the length, which is not known yet
    out.u32(0); // 0: a common part
    out.u8(1); // the version
    out.text("zR"); // the data that follow say how pointers are written
    out.u8(codeAlignment);
    out.u8(0x78); // offsets are multiples of −8, as a signed LEB128
    out.u8(returnColumn);
    out.u8(1); // bytes of those data
    out.u8(pointer);
    out.append(new Uint8Array(instructions));
    out.align(8, NOP);
    out.u32At(0, out.at - 4);
    commonParts.set(key, (part = out.bytes.slice()));
  }
  return part;
}

/** The function whose frame is described. */
export interface FrameOf {
  readonly processor: ProcessorName;
  readonly sizeBytes: number;
  /** DWARF call frame instructions: what changes behind the function's first instruction. */
  readonly instructions: Uint8Array;
}

/**
 * Appends an `.eh_frame`; `start` is the function's address, or with relative pointers its distance from the beginning of
 * the section. Returns where the FDE begins, in bytes from there.
 */
export function appendCallFrames(
  out: ByteWriter,
  { processor, sizeBytes, instructions }: FrameOf,
  pointer: PointerKind,
  start: Address,
): number {
  const sectionAt = out.at;
  out.append(commonPart(processor, pointer));
  const entryAt = out.at;
  out.u32(0);
  out.u32(out.at - sectionAt); // back to the common part
  if (pointer === Pointer.absolute) {
    out.u64(start);
    out.u64(sizeBytes);
  } else {
    out.u32(start - (out.at - sectionAt));
    out.u32(sizeBytes);
  }
  out.u8(0); // no further data
  out.append(instructions);
  while (((out.at - sectionAt) & 7) !== 0) out.u8(NOP);
  out.u32At(entryAt, out.at - entryAt - 4);
  out.u32(0); // the end
  out.u32(0); // and up to a multiple of 8
  return entryAt - sectionAt;
}
