/** The first bytes of an ELF file: 64 bits, little-endian, version 1. */
import { ELF_MACHINES } from "../base/elf-machines.ts";
import type { ProcessorName } from "../base/platform.ts";
import type { ByteWriter } from "./byte-writer.ts";

export const HEADER_BYTES = 64;

/** A table of the file: how long a row is, and how many there are. Bytes. */
interface Table {
  readonly at: number;
  readonly rowBytes: number;
  readonly count: number;
}

export const NO_TABLE: Table = { at: 0, rowBytes: 0, count: 0 };

/** What the header says. The last section has the names of all. */
interface ElfHeader {
  /** 1 = relocatable, 3 = a shared object. */
  readonly type: 1 | 3;
  readonly processor: ProcessorName;
  readonly segments: Table;
  readonly sections: Table;
}

export function appendElfHeader(out: ByteWriter, { type, processor, segments, sections }: ElfHeader): void {
  out.u32(0x464c_457f); // "\x7fELF"
  out.u32(0x0001_0102);
  out.u64(0);
  out.u16(type);
  out.u16(ELF_MACHINES[processor] ?? 0);
  out.u32(1);
  out.u64(0); // no entry
  out.u64(segments.at);
  out.u64(sections.at);
  out.u32(0);
  out.u16(HEADER_BYTES);
  for (const { rowBytes, count } of [segments, sections]) {
    out.u16(rowBytes);
    out.u16(count);
  }
  out.u16(sections.count - 1);
}
