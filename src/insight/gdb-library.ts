/**
 * Builds the library that a debugger watches to learn of new code: a shared object with the two symbols of GDB's JIT
 * compilation interface ("JIT Compilation Interface" in GDB's manual), and a function that returns the address of the
 * second, since a foreign function interface finds functions only.
 *
 * ```text
 * 0    ┌ header ┬ program headers: LOAD (r-x), LOAD (rw-), DYNAMIC, GNU_STACK ┐
 *      ├ .text: __jit_debug_register_code, jit_allocator_descriptor           │
 *      ├ .dynsym ┬ .dynstr ┬ .hash                                            │
 *      ├ .dynamic ┬ .data: __jit_debug_descriptor                             │  0x10000 higher in memory
 *      └ section headers and their names, for the debugger ───────────────────┘
 * ```
 *
 * Formats: System V ABI, chapters 4 and 5.
 */
import type { ProcessorName } from "../base/platform.ts";
import { ByteWriter } from "./byte-writer.ts";
import { appendElfHeader, HEADER_BYTES } from "./elf-header.ts";

/** The function on which the debugger sets a breakpoint, and the one that returns the descriptor's address. */
export const REGISTER_FUNCTION = "__jit_debug_register_code";
export const DESCRIPTOR_FUNCTION = "jit_allocator_descriptor";
/** `struct jit_descriptor`: version, action, two pointers. */
const DESCRIPTOR_BYTES = 24;

const SEGMENT_BYTES = 56;
const SECTION_BYTES = 64;
const SYMBOL_BYTES = 24;
/** What is writable lies this much higher in memory than in the file: on a page of its own, of whatever size. */
const DATA_SHIFT = 0x1_0000;
const FUNCTION_BYTES = 16;

interface Functions {
  readonly ret: readonly number[];
  /** A function that returns the address which lies `distance` bytes behind its own. */
  readonly addressAt: (distance: number) => readonly number[];
}

const FUNCTIONS: Readonly<Record<ProcessorName, Functions | undefined>> = {
  x64: {
    ret: [0xc3],
    // lea rax, [rip + distance − 7]; ret
    addressAt: (distance) => [0x48, 0x8d, 0x05, ...wordBytes(distance - 7), 0xc3],
  },
  arm64: {
    ret: wordBytes(0xd65f_03c0),
    // adr x0, distance; ret
    addressAt: (distance) => [
      ...wordBytes((0x1000_0000 | ((distance & 3) << 29) | (((distance >> 2) & 0x7_ffff) << 5)) >>> 0),
      ...wordBytes(0xd65f_03c0),
    ],
  },
  other: undefined,
};

function wordBytes(value: number): readonly number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
}

/** The places of the symbols. */
const Index = { registerCode: 1, descriptorFunction: 2, descriptor: 3 } as const;
const NAMES = ["", REGISTER_FUNCTION, DESCRIPTOR_FUNCTION, "__jit_debug_descriptor"] as const;

/** The bytes of the library; undefined for a processor whose instructions are not known here. */
export function gdbLibrary(processor: ProcessorName): Uint8Array | undefined {
  const functions = FUNCTIONS[processor];
  if (functions === undefined) return undefined;
  const strings = `${NAMES.join("\0")}\0`;
  const nameOffset = (index: number): number =>
    NAMES.slice(0, index).join("\0").length + (index === 0 ? 0 : 1);
  const sectionNames = "\0.text\0.dynsym\0.dynstr\0.hash\0.dynamic\0.data\0.shstrtab\0";

  const textAt = HEADER_BYTES + 4 * SEGMENT_BYTES; // a multiple of 16
  const symbolsAt = textAt + 2 * FUNCTION_BYTES;
  const stringsAt = symbolsAt + NAMES.length * SYMBOL_BYTES;
  const hashAt = align8(stringsAt + strings.length);
  const dynamicAt = align8(hashAt + 4 * (2 + 1 + NAMES.length));
  const dynamicTags = [
    [4, hashAt], // HASH
    [5, stringsAt], // STRTAB
    [6, symbolsAt], // SYMTAB
    [10, strings.length], // STRSZ
    [11, SYMBOL_BYTES], // SYMENT
    [0, 0],
  ] as const;
  const dataAt = dynamicAt + 16 * dynamicTags.length;
  const sectionNamesAt = dataAt + DESCRIPTOR_BYTES;
  const sectionsAt = align8(sectionNamesAt + sectionNames.length);

  const out = new ByteWriter();
  appendElfHeader(out, {
    type: 3,
    processor,
    segments: { at: HEADER_BYTES, rowBytes: SEGMENT_BYTES, count: 4 },
    sections: { at: sectionsAt, rowBytes: SECTION_BYTES, count: 8 },
  });

  const segment = (
    [type, access]: readonly [number, number],
    at: number,
    shift: number,
    size: number,
    alignment: number,
  ): void => {
    out.u32(type);
    out.u32(access);
    for (const field of [at, at + shift, at + shift, size, size, alignment]) out.u64(field);
  };
  segment([1, 5], 0, 0, dynamicAt, DATA_SHIFT); // LOAD, readable and executable
  segment([1, 6], dynamicAt, DATA_SHIFT, sectionNamesAt - dynamicAt, DATA_SHIFT); // LOAD, readable and writable
  segment([2, 6], dynamicAt, DATA_SHIFT, dataAt - dynamicAt, 8); // DYNAMIC
  segment([0x6474_e551, 6], 0, 0, 0, 8); // GNU_STACK: without it the loader makes every stack executable

  out.append(new Uint8Array(functions.ret));
  out.align(FUNCTION_BYTES);
  out.append(new Uint8Array(functions.addressAt(dataAt + DATA_SHIFT - out.at)));
  out.align(FUNCTION_BYTES);

  const symbol = (index: number, info: number, sectionIndex: number, value: number, size: number): void => {
    out.u32(nameOffset(index));
    out.u8(info);
    out.u8(0);
    out.u16(sectionIndex);
    out.u64(value);
    out.u64(size);
  };
  symbol(0, 0, 0, 0, 0);
  symbol(Index.registerCode, 0x12, 1, textAt, FUNCTION_BYTES); // a global function
  symbol(Index.descriptorFunction, 0x12, 1, textAt + FUNCTION_BYTES, FUNCTION_BYTES);
  symbol(Index.descriptor, 0x11, 6, dataAt + DATA_SHIFT, DESCRIPTOR_BYTES); // a global object
  out.append(new TextEncoder().encode(strings));
  out.align(8);
  // One bucket, whose chain has all symbols.
  for (const field of [1, NAMES.length, 1, 0, 2, 3, 0]) out.u32(field);
  out.align(8);
  for (const [tag, value] of dynamicTags) {
    out.u64(tag);
    out.u64(value);
  }
  out.u32(1); // the version of the interface
  for (let at = out.at; at < sectionNamesAt; at += 4) out.u32(0);
  out.append(new TextEncoder().encode(sectionNames));
  out.align(8);

  const section = (
    name: string,
    [type, flags]: readonly [number, number],
    [at, shift, size]: readonly [number, number, number],
    [link, info, entrySize]: readonly [number, number, number],
  ): void => {
    out.u32(name === "" ? 0 : sectionNames.indexOf(`\0${name}\0`) + 1);
    out.u32(type);
    for (const field of [flags, flags === 0 ? 0 : at + shift, at, size]) out.u64(field);
    out.u32(link);
    out.u32(info);
    out.u64(8);
    out.u64(entrySize);
  };
  section("", [0, 0], [0, 0, 0], [0, 0, 0]);
  section(".text", [1, 6], [textAt, 0, symbolsAt - textAt], [0, 0, 0]);
  section(".dynsym", [11, 2], [symbolsAt, 0, stringsAt - symbolsAt], [3, 1, SYMBOL_BYTES]);
  section(".dynstr", [3, 2], [stringsAt, 0, strings.length], [0, 0, 0]);
  section(".hash", [5, 2], [hashAt, 0, dynamicAt - hashAt], [2, 0, 4]);
  section(".dynamic", [6, 3], [dynamicAt, DATA_SHIFT, dataAt - dynamicAt], [3, 0, 16]);
  section(".data", [1, 3], [dataAt, DATA_SHIFT, DESCRIPTOR_BYTES], [0, 0, 0]);
  section(".shstrtab", [3, 0], [sectionNamesAt, 0, sectionNames.length], [0, 0, 0]);
  return out.bytes.slice();
}

function align8(offset: number): number {
  return Math.ceil(offset / 8) * 8;
}
