/**
 * Reads relocatable object files: ELF for x86-64, as compilers write them. The structures and numbers are those of the
 * System V ABI, chapter 4 of the generic part, and of its supplement for AMD64.
 */
import { LinkError } from "./link-error.ts";
import { Reader, textAt } from "./reader.ts";

/** A part of an object file that is to be in memory, or that says something about others. */
export interface Section {
  /** `libz.a(deflate.o)`. */
  readonly object: string;
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  /** Bytes, and in memory as many, also where the file has none (`.bss`). */
  readonly size: number;
  /** A power of two. */
  readonly alignment: number;
  /** Of the file; empty where memory begins as zeros. */
  readonly bytes: Uint8Array;
  readonly relocations: Relocation[];
  /** The COMDAT group that it belongs to: of groups of one name, one is kept. */
  group: string | undefined;
}

/** Where a symbol is. */
export type SymbolPlace = Section | "undefined" | "absolute" | "common" | "discarded";

/** A name for a place in a section. */
export interface ElfSymbol {
  readonly name: string;
  readonly binding: "local" | "global" | "weak";
  readonly type: number;
  readonly isHidden: boolean;
  readonly place: SymbolPlace;
  /** The offset in the section; of common symbols the alignment. */
  readonly value: number;
  readonly size: number;
}

/** A place in a section that depends on an address. */
export interface Relocation {
  readonly offset: number;
  readonly type: number;
  readonly symbol: ElfSymbol;
  readonly addend: number;
}

export interface ObjectFile {
  readonly name: string;
  readonly sections: readonly Section[];
  readonly symbols: readonly ElfSymbol[];
}

/** Bits of a section's flags. */
export const Flag = { write: 0x1, allocate: 0x2, execute: 0x4, threadLocal: 0x400 } as const;

/** Types of sections. */
export const SectionType = {
  symbolTable: 2,
  strings: 3,
  relocationsWithAddends: 4,
  note: 7,
  noBits: 8,
  relocations: 9,
  initArray: 14,
  finiArray: 15,
  group: 17,
} as const;

/** Types of symbols. */
export const SymbolType = { function: 2, section: 3, threadLocal: 6, indirectFunction: 10 } as const;

const MAGIC = 0x464c_457f;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
const RELOCATABLE = 1;
const X86_64 = 62;
const FILE_HEADER_BYTES = 64;
const SECTION_HEADER_BYTES = 64;
const SYMBOL_BYTES = 24;
const RELOCATION_BYTES = 24;
const COMDAT = 1;
/** What gcc calls a symbol of an object that has nothing but its intermediate language. */
const INTERMEDIATE = "__gnu_lto_slim";
/** Section numbers of symbols that are in no section. */
const Special = { undefined: 0, absolute: 0xfff1, common: 0xfff2 } as const;
/** Bits of st_info and st_other. */
const BINDINGS: readonly ElfSymbol["binding"][] = ["local", "global", "weak"];
/** STB_GNU_UNIQUE: one definition for the whole process. In one archive that is a global symbol. */
const UNIQUE = 10;
const DEFAULT_VISIBILITY = 0;

/** Machines that archives are commonly made for, for the message. */
const MACHINES: Readonly<Record<number, string>> = {
  3: "32-bit x86",
  40: "32-bit ARM",
  62: "x86-64",
  183: "AArch64",
  243: "RISC-V",
};

/** A section header, and what it leads to is not read yet. */
interface Header {
  readonly section: Section;
  readonly link: number;
  readonly info: number;
}

/**
 * Reads an object file. Its sections share the bytes that were given.
 *
 * @param name for messages
 * @throws LinkError for anything but a whole, relocatable ELF file for x86-64
 */
export function readObject(name: string, bytes: Uint8Array): ObjectFile {
  const reader = new Reader(name, bytes);
  checkIdentity(name, bytes, reader);
  const headers = readHeaders(name, reader);
  const sections = headers.map(({ section }) => section);
  const table = headers.find(({ section }) => section.type === SectionType.symbolTable);
  const symbols = table === undefined ? [] : readSymbols(name, table, sections);
  if (symbols.some((symbol) => symbol.name === INTERMEDIATE)) {
    throw new LinkError(
      `${name} has no machine code: it was compiled for link-time optimisation alone (-flto)`,
    );
  }
  for (const header of headers) {
    if (header.section.type === SectionType.relocationsWithAddends)
      readRelocations(name, header, sections, symbols);
    else if (header.section.type === SectionType.relocations) {
      throw new LinkError(
        `${name}: section ${header.section.name} has relocations without addends, which x86-64 lacks`,
      );
    } else if (header.section.type === SectionType.group) readGroup(name, header, sections, symbols);
  }
  return { name, sections, symbols };
}

function checkIdentity(name: string, bytes: Uint8Array, reader: Reader): void {
  if (bytes.length < 4 || reader.u32(0, "header") !== MAGIC) {
    throw new LinkError(`${name} is no ELF file${bytes.length === 0 ? ": it is empty" : ""}`);
  }
  reader.slice(0, FILE_HEADER_BYTES, "header");
  const machine = reader.u16(18, "header");
  const isOurs = bytes[4] === CLASS_64 && bytes[5] === LITTLE_ENDIAN && machine === X86_64;
  if (!isOurs) {
    const found = MACHINES[machine] ?? `machine ${machine}`;
    throw new LinkError(
      `${name} is for ${found}, ${bytes[4] === CLASS_64 ? 64 : 32} bits: this linker is for x86-64`,
    );
  }
  const type = reader.u16(16, "header");
  if (type !== RELOCATABLE) {
    throw new LinkError(`${name} is no relocatable object file (type ${type}): it has been linked already`);
  }
}

function readHeaders(name: string, reader: Reader): readonly Header[] {
  const tableAt = reader.u64(40, "header");
  const count = reader.u16(60, "header");
  const namesIndex = reader.u16(62, "header");
  if (count === 0)
    throw new LinkError(`${name} has no sections, or more than 65,279, which this linker does not read`);
  const headerAt = (index: number): number => tableAt + index * SECTION_HEADER_BYTES;
  reader.slice(tableAt, count * SECTION_HEADER_BYTES, "table of sections");
  const what = "table of sections";
  const namesAt = headerAt(namesIndex);
  const names = reader.slice(
    reader.u64(namesAt + 24, what),
    reader.u64(namesAt + 32, what),
    "names of sections",
  );
  return Array.from({ length: count }, (_, index): Header => {
    const at = headerAt(index);
    const type = reader.u32(at + 4, what);
    const size = reader.u64(at + 32, what);
    const sectionName = textAt(names, reader.u32(at, what));
    const hasBytes = type !== SectionType.noBits && index > 0;
    const section: Section = {
      object: name,
      name: sectionName,
      type,
      flags: reader.u64(at + 8, what),
      size,
      alignment: Math.max(reader.u64(at + 48, what), 1),
      bytes: hasBytes
        ? reader.slice(reader.u64(at + 24, what), size, `section ${sectionName}`)
        : new Uint8Array(),
      relocations: [],
      group: undefined,
    };
    return { section, link: reader.u32(at + 40, what), info: reader.u32(at + 44, what) };
  });
}

function readSymbols(name: string, table: Header, sections: readonly Section[]): readonly ElfSymbol[] {
  const names = sectionAt(name, sections, table.link, "names of symbols").bytes;
  const reader = new Reader(name, table.section.bytes);
  return Array.from({ length: Math.floor(table.section.size / SYMBOL_BYTES) }, (_, index): ElfSymbol => {
    const at = index * SYMBOL_BYTES;
    const what = "symbol table";
    const info = reader.u8(at + 4, what);
    const sectionIndex = reader.u16(at + 6, what);
    const type = info & 0xf;
    const ownName = textAt(names, reader.u32(at, what));
    const place = placeOf(name, ownName, sectionIndex, sections);
    return {
      // The symbol of a section has no name but the section's.
      name: ownName === "" && typeof place === "object" ? place.name : ownName,
      binding: info >> 4 === UNIQUE ? "global" : (BINDINGS[info >> 4] ?? "global"),
      type,
      isHidden: (reader.u8(at + 5, what) & 3) !== DEFAULT_VISIBILITY,
      place,
      value: reader.u64(at + 8, what),
      size: reader.u64(at + 16, what),
    };
  });
}

function placeOf(object: string, symbol: string, index: number, sections: readonly Section[]): SymbolPlace {
  if (index === Special.undefined) return "undefined";
  if (index === Special.absolute) return "absolute";
  if (index === Special.common) return "common";
  const section = sections[index];
  if (section !== undefined) return section;
  throw new LinkError(`${object}: symbol ${symbol} is in section ${index}, and there are ${sections.length}`);
}

function readRelocations(
  name: string,
  header: Header,
  sections: readonly Section[],
  symbols: readonly ElfSymbol[],
): void {
  const target = sectionAt(name, sections, header.info, `section ${header.section.name}`);
  // What is never in memory, such as information for debuggers, is not linked.
  if ((target.flags & Flag.allocate) === 0) return;
  const reader = new Reader(name, header.section.bytes);
  const count = Math.floor(header.section.size / RELOCATION_BYTES);
  const what = `section ${header.section.name}`;
  for (let index = 0; index < count; index++) {
    const at = index * RELOCATION_BYTES;
    const offset = reader.u64(at, what);
    const symbol = symbols[reader.u32(at + 12, what)];
    if (symbol === undefined) throw new LinkError(`${name}: ${what} names a symbol that is not there`);
    if (offset >= target.size) {
      throw new LinkError(`${name}: ${what} changes ${target.name} behind its end, at ${offset}`);
    }
    const addend = reader.i64(at + 16, what);
    target.relocations.push({ offset, type: reader.u32(at + 8, what), symbol, addend });
  }
}

function readGroup(
  name: string,
  header: Header,
  sections: readonly Section[],
  symbols: readonly ElfSymbol[],
): void {
  const reader = new Reader(name, header.section.bytes);
  const signature = symbols[header.info];
  const what = `section ${header.section.name}`;
  if (signature === undefined) throw new LinkError(`${name}: ${what} names a symbol that is not there`);
  if ((reader.u32(0, what) & COMDAT) === 0) return;
  for (let at = 4; at < header.section.size; at += 4) {
    sectionAt(name, sections, reader.u32(at, what), what).group = signature.name;
  }
}

function sectionAt(name: string, sections: readonly Section[], index: number, what: string): Section {
  const section = sections[index];
  if (section !== undefined) return section;
  throw new LinkError(`${name} is damaged: ${what} names section ${index}, and it has ${sections.length}`);
}
