/**
 * Builds a shared object that holds nothing but names for addresses.
 *
 * Some foreign function interfaces call a symbol of a library in a few nanoseconds, but an address slowly or not at all.
 * For them a library is made in memory whose dynamic symbols are absolute (SHN_ABS): their values are addresses, not
 * offsets from where the library is loaded:
 *
 * ```text
 * 0    ┌ ELF header ┬ program headers: LOAD, DYNAMIC, GNU_STACK ┐
 * 232  ├ symbols: one empty, then one per address               │   24 bytes each
 *      ├ strings: "\0" "f0\0" "f1\0" …                          │
 *      ├ hash table: as many buckets as symbols                 │
 *      └ dynamic section ───────────────────────────────────────┘
 * ```
 *
 * Formats: System V ABI, chapters 4 and 5, and its supplements for x86-64 and AArch64. The object has no code, so nothing
 * of it is mapped executable. The memory at the addresses is not looked at.
 */
import { ELF_MACHINES } from "../base/elf-machines.ts";
import type { ProcessorName } from "../base/platform.ts";
import type { Address, Ffi } from "./contract.ts";
import { LINUX_LIBC_NAMES } from "./libc-names.ts";
import type { ExpectedSymbol } from "./memory-file.ts";

const HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const PROGRAM_HEADER_COUNT = 3;
const SYMBOL_BYTES = 24;
const DYNAMIC_BYTES = 16;
/** Tables of 64-bit fields are aligned to 8 bytes. */
const ALIGNMENT = 8;
/** The largest page size, in bytes, of any processor here. A segment's offset and address must be congruent modulo this. */
const SEGMENT_ALIGNMENT = 0x1_0000;

/** p_type. Without GNU_STACK the loader would make every stack of the process executable. */
const Segment = { LOAD: 1, DYNAMIC: 2, GNU_STACK: 0x6474_e551 } as const;
/** p_flags: readable and writable. glibc before 2.35 writes to the dynamic section, to relocate it. */
const READ_WRITE = 6;
/** d_tag. */
const Dynamic = { HASH: 4, STRTAB: 5, SYMTAB: 6, STRSZ: 10, SYMENT: 11 } as const;
/** st_info: a global function. */
const GLOBAL_FUNCTION = 0x12;
/** st_shndx: the value is not relative to anything. */
const SHN_ABS = 0xfff1;

/**
 * Whether this process's C library supports absolute symbols. glibc does. musl does not: it adds the address at which the
 * library was loaded, so that a call would jump to a wrong address. Other C libraries are not known, and count as ones
 * that do not. Never throws.
 */
export function knowsAbsoluteSymbols(ffi: Pick<Ffi, "open">): boolean {
  try {
    const signature = { parameters: [], result: "pointer" } as const;
    return ffi.open(LINUX_LIBC_NAMES).find("gnu_get_libc_version", signature) !== undefined;
  } catch {
    return false; // there is no such library: not Linux
  }
}

/** The name under which the address number `index` of {@link absoluteSymbols} is found. */
export function symbolName(index: number): string {
  return `f${index}`;
}

/** The symbols of the library for these targets, and the address each must lead to. */
export function expectedSymbols(targets: readonly { readonly address: Address }[]): ExpectedSymbol[] {
  return targets.map(({ address }, index) => ({ name: symbolName(index), address }));
}

/**
 * The bytes of a shared object whose symbol `f0` is the first of `addresses`, `f1` the second, and so on.
 * Undefined where the ELF machine number of the processor is not known.
 */
export function absoluteSymbols(
  addresses: readonly Address[],
  processor: ProcessorName,
): Uint8Array<ArrayBuffer> | undefined {
  const machine = ELF_MACHINES[processor];
  if (machine === undefined) return undefined;

  const names = addresses.map((_, index) => symbolName(index));
  const strings = new TextEncoder().encode(`\0${names.join("\0")}\0`);
  const symbolCount = names.length + 1;
  const symbolsAt = HEADER_BYTES + PROGRAM_HEADER_COUNT * PROGRAM_HEADER_BYTES;
  const stringsAt = symbolsAt + symbolCount * SYMBOL_BYTES;
  const hashAt = align(stringsAt + strings.length);
  const dynamicAt = align(hashAt + 4 * (2 + 2 * symbolCount));
  const tags = [
    [Dynamic.HASH, hashAt],
    [Dynamic.STRTAB, stringsAt],
    [Dynamic.SYMTAB, symbolsAt],
    [Dynamic.STRSZ, strings.length],
    [Dynamic.SYMENT, SYMBOL_BYTES],
    [0, 0],
  ] as const;
  const sizeBytes = dynamicAt + tags.length * DYNAMIC_BYTES;

  const image = new DataView(new ArrayBuffer(sizeBytes));
  const u16 = (at: number, value: number): void => image.setUint16(at, value, true);
  const u32 = (at: number, value: number): void => image.setUint32(at, value, true);
  const u64 = (at: number, value: number): void => image.setBigUint64(at, BigInt(value), true);

  // The header: a 64-bit, little-endian, version 1 shared object (3).
  u32(0, 0x464c_457f); // "\x7fELF"
  u32(4, 0x0001_0102);
  u16(16, 3);
  u16(18, machine);
  u32(20, 1);
  u64(32, HEADER_BYTES); // where the program headers are
  u16(52, HEADER_BYTES);
  u16(54, PROGRAM_HEADER_BYTES);
  u16(56, PROGRAM_HEADER_COUNT);
  u16(58, 64); // the size of a section header; there are no section headers

  const segment = (index: number, type: number, at: number, bytes: number, alignment: number): void => {
    const header = HEADER_BYTES + index * PROGRAM_HEADER_BYTES;
    u32(header, type);
    u32(header + 4, READ_WRITE);
    u64(header + 8, at); // in the file
    u64(header + 16, at); // in memory, from where it is loaded
    u64(header + 24, at);
    u64(header + 32, bytes);
    u64(header + 40, bytes);
    u64(header + 48, alignment);
  };
  segment(0, Segment.LOAD, 0, sizeBytes, SEGMENT_ALIGNMENT);
  segment(1, Segment.DYNAMIC, dynamicAt, tags.length * DYNAMIC_BYTES, ALIGNMENT);
  segment(2, Segment.GNU_STACK, 0, 0, ALIGNMENT);

  const bucketsAt = hashAt + 8;
  const chainsAt = bucketsAt + 4 * symbolCount;
  u32(hashAt, symbolCount); // buckets
  u32(hashAt + 4, symbolCount); // chains
  let nameAt = 1;
  for (const [index, name] of names.entries()) {
    const symbol = index + 1;
    const at = symbolsAt + symbol * SYMBOL_BYTES;
    u32(at, nameAt);
    image.setUint8(at + 4, GLOBAL_FUNCTION);
    u16(at + 6, SHN_ABS);
    u64(at + 8, addresses[index] ?? 0);
    nameAt += name.length + 1;

    // The newest symbol becomes the first of its bucket, and chains to the previous first.
    const bucketAt = bucketsAt + 4 * (hashOf(name) % symbolCount);
    u32(chainsAt + 4 * symbol, image.getUint32(bucketAt, true));
    u32(bucketAt, symbol);
  }
  for (const [index, [tag, value]] of tags.entries()) {
    u64(dynamicAt + index * DYNAMIC_BYTES, tag);
    u64(dynamicAt + index * DYNAMIC_BYTES + 8, value);
  }
  const bytes = new Uint8Array(image.buffer);
  bytes.set(strings, stringsAt);
  return bytes;
}

/** The hash function of the System V ABI, chapter 5. */
function hashOf(name: string): number {
  let hash = 0;
  for (let index = 0; index < name.length; index++) {
    hash = (hash << 4) + name.charCodeAt(index);
    const top = hash & 0xf000_0000;
    hash = (hash ^ (top >>> 24)) & ~top;
  }
  return hash >>> 0;
}

function align(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}
