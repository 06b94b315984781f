/** The mappings of a fake machine as a list: cut where something begins or ends, and joined where nothing does. */
import type { Address } from "../../src/ffi/contract.ts";

/** A file of a fake machine, as far as its mappings are concerned. */
export interface MappedFile {
  /** The numbers of the pages that have memory. */
  readonly pages: Set<number>;
}

export interface FileMapping<F extends MappedFile> {
  start: Address;
  sizeBytes: number;
  protection: number;
  readonly file: F | undefined;
  readonly flags: number;
  /** Bytes from the start of the file. */
  offset: number;
  /** Whether it can never become writable: its descriptor was opened for reading alone. */
  readonly isReadOnly: boolean;
  /** Whether its access, and what is mapped there, can never change. */
  isSealed: boolean;
}

/** The mappings, with a border at `address`. */
function cutAt<M extends FileMapping<MappedFile>>(mappings: readonly M[], address: Address): M[] {
  return mappings.flatMap((mapping) => {
    const head = address - mapping.start;
    if (head <= 0 || head >= mapping.sizeBytes) return [mapping];
    const tail = { start: address, sizeBytes: mapping.sizeBytes - head, offset: mapping.offset + head };
    return [
      { ...mapping, sizeBytes: head },
      { ...mapping, ...tail },
    ];
  });
}

/** The mappings, each of which lies wholly inside the range or outside of it. */
export function cutAround<M extends FileMapping<MappedFile>>(
  mappings: readonly M[],
  start: Address,
  sizeBytes: number,
): M[] {
  return cutAt(cutAt(mappings, start), start + sizeBytes);
}

/** The mappings that lie in the range. */
export function inside<M extends FileMapping<MappedFile>>(
  mappings: readonly M[],
  start: Address,
  sizeBytes: number,
): M[] {
  return mappings.filter((mapping) => start <= mapping.start && mapping.start < start + sizeBytes);
}

/** Joins neighbours that are one mapping to a system: the same file, further on, with the same access. */
export function joined<M extends FileMapping<MappedFile>>(mappings: readonly M[]): M[] {
  const result: M[] = [];
  for (const mapping of [...mappings].sort((a, b) => a.start - b.start)) {
    const before = result.at(-1);
    const isOne =
      before !== undefined &&
      mapping.file !== undefined &&
      before.file === mapping.file &&
      before.start + before.sizeBytes === mapping.start &&
      before.offset + before.sizeBytes === mapping.offset &&
      before.protection === mapping.protection &&
      before.isReadOnly === mapping.isReadOnly &&
      before.isSealed === mapping.isSealed;
    if (isOne) result[result.length - 1] = { ...before, sizeBytes: before.sizeBytes + mapping.sizeBytes };
    else result.push(mapping);
  }
  return result;
}
