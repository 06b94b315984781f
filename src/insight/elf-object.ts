/**
 * The object file by which a debugger knows one piece of code: a relocatable ELF file without the code itself, which the
 * debugger reads where it runs.
 *
 * ```text
 * ┌ header ┬ section headers ┬ .eh_frame ┬ symbols: none, the function, its parts ┬ strings ┐
 * ```
 *
 * Formats: System V ABI, chapter 4.
 */
import type { ProcessorName } from "../base/platform.ts";
import type { Address } from "../ffi/contract.ts";
import { ByteWriter } from "./byte-writer.ts";
import type { CodeSymbol } from "./code-symbols.ts";
import { appendElfHeader, HEADER_BYTES, NO_TABLE } from "./elf-header.ts";
import { appendCallFrames, Pointer } from "./call-frames.ts";

const SECTION_BYTES = 64;
const SYMBOL_BYTES = 24;
const SECTION_COUNT = 5;

/** sh_type. */
const Type = { progbits: 1, symbols: 2, strings: 3, nobits: 8 } as const;
/** sh_flags: in memory, and executable. */
const ALLOCATED = 2;
const EXECUTABLE = 4;

/** The names of the sections, each behind a zero. */
const SECTION_NAMES = "\0.text\0.eh_frame\0.symtab\0.strtab\0";
const nameBytes = new TextEncoder().encode(SECTION_NAMES);
const nameAt = (name: string): number => SECTION_NAMES.indexOf(`${name}\0`);
const TEXT_NAME = nameAt(".text");
const FRAMES_NAME = nameAt(".eh_frame");
const SYMBOLS_NAME = nameAt(".symtab");
const STRINGS_NAME = nameAt(".strtab");

/** Code as debuggers and profilers are told of it. */
export interface KnownCode {
  readonly rx: Address;
  readonly sizeBytes: number;
  readonly name: string;
  /** Named parts of it. */
  readonly symbols: readonly Readonly<CodeSymbol>[];
  readonly processor: ProcessorName;
  /** DWARF call frame instructions. */
  readonly frames: Uint8Array;
}

/** Used again for each object file. */
const texts = new ByteWriter();

/** Appends the object file of some code. Precondition: `out.at` is a multiple of 8, and the processor's number is known. */
export function appendElfObject(
  out: ByteWriter,
  { rx, sizeBytes, name, symbols, processor, frames }: KnownCode,
): void {
  const start = out.at;
  const sections = { at: HEADER_BYTES, rowBytes: SECTION_BYTES, count: SECTION_COUNT };
  appendElfHeader(out, { type: 1, processor, segments: NO_TABLE, sections });

  const headersAt = out.at;
  const bodyAt = HEADER_BYTES + SECTION_COUNT * SECTION_BYTES;
  for (let at = headersAt; at < start + bodyAt; at += 8) out.u64(0);
  appendCallFrames(out, { processor, sizeBytes, instructions: frames }, Pointer.absolute, rx);
  const symbolsAt = out.at - start;
  out.u64(0);
  out.u64(0);
  out.u64(0);
  const named = [{ name, offset: 0, size: sizeBytes }, ...symbols];
  texts.clear();
  for (const part of named) {
    out.u32(nameBytes.length + texts.at); // its name is behind those of the sections
    out.u8(0x12); // a global function
    out.u8(0);
    out.u16(1); // in .text
    out.u64(part.offset);
    out.u64(part.size);
    texts.text(part.name);
  }
  const stringsAt = out.at - start;
  out.append(nameBytes);
  out.append(texts.bytes);
  const end = out.at;

  const symbolBytes = (1 + named.length) * SYMBOL_BYTES;
  out.at = headersAt + SECTION_BYTES; // the first section is none
  section(out, [TEXT_NAME, Type.nobits, ALLOCATED | EXECUTABLE, rx, bodyAt, sizeBytes, 0, 0, 16, 0]);
  section(out, [FRAMES_NAME, Type.progbits, ALLOCATED, 0, bodyAt, symbolsAt - bodyAt, 0, 0, 8, 0]);
  // Its strings are section 4; symbols from number 1 on are global.
  section(out, [SYMBOLS_NAME, Type.symbols, 0, 0, symbolsAt, symbolBytes, 4, 1, 8, SYMBOL_BYTES]);
  section(out, [STRINGS_NAME, Type.strings, 0, 0, stringsAt, end - start - stringsAt, 0, 0, 1, 0]);
  out.at = end;
  out.align(8);
}

type SectionFields = readonly [
  name: number,
  type: number,
  flags: number,
  address: number,
  offset: number,
  size: number,
  link: number,
  info: number,
  alignment: number,
  entrySize: number,
];

function section(out: ByteWriter, fields: SectionFields): void {
  const [name, type, flags, address, offset, size, link, info, alignment, entrySize] = fields;
  out.u32(name);
  out.u32(type);
  out.u64(flags);
  out.u64(address);
  out.u64(offset);
  out.u64(size);
  out.u32(link);
  out.u32(info);
  out.u64(alignment);
  out.u64(entrySize);
}
