/**
 * The sealed stretch of a range: from its start up to the highest end that a block has had. Whatever is sealed stays usable
 * until the process ends, so that a later block in it needs no call of the system. The stretch only grows:
 *
 *     ├── sealed ──────────┼── sealing ──┼── untouched ───────────┤
 *     0                sealedBytes   sealingBytes
 *
 * What a new block needs beyond the stretch is committed first. Then `sealingBytes` says so, the stretch is sealed, and
 * `sealedBytes` follows. So a thread may die, or the system refuse, at any point: what lies between the two numbers is
 * committed, sealed in part perhaps, and whoever comes next seals it again.
 */
import { JitError } from "../base/errors.ts";
import type { AddressRange, RangeMemory } from "../vm/contract.ts";
import type { RangeRecord } from "./contract.ts";

/** The two numbers in a {@link RangeRecord}. */
export type SealRecord = Pick<RangeRecord, "sealedBytes" | "sealingBytes">;

/**
 * Makes a block usable, and sealed with all that lies before it.
 * @param isUnclean whether what is no block's may have memory; the block's place is wiped then
 * @throws JitError where the system refuses; the next call goes on from there
 */
export function sealBlock(
  ranges: RangeMemory,
  range: AddressRange,
  record: SealRecord,
  offset: number,
  sizeBytes: number,
  isUnclean: boolean,
): void {
  const end = offset + sizeBytes;
  finish(ranges, range, record);
  const start = record.sealedBytes;
  if (isUnclean && offset < start) ranges.discard(range, offset, Math.min(end, start) - offset);
  if (end <= start) return;
  ranges.commit(range, start, end - start, isUnclean);
  record.sealingBytes = end;
  finish(ranges, range, record);
}

/** Seals what is about to be sealed. @throws JitError where the system refuses */
function finish(ranges: RangeMemory, range: AddressRange, record: SealRecord): void {
  const { sealedBytes, sealingBytes } = record;
  if (sealingBytes <= sealedBytes) return;
  ranges.seal(range, sealedBytes, sealingBytes - sealedBytes);
  record.sealedBytes = sealingBytes;
}

/** Tries once more to seal what is about to be. Never throws. @returns whether nothing is sealed in part */
export function trySealing(ranges: RangeMemory, range: AddressRange, record: SealRecord): boolean {
  return done(() => {
    finish(ranges, range, record);
  });
}

/**
 * Takes the memory of a stretch that is no block's, wherever it lies. Never throws.
 * @returns whether it has none now, and only its sealed part has access
 */
export function wipe(
  ranges: RangeMemory,
  range: AddressRange,
  record: SealRecord,
  offset: number,
  sizeBytes: number,
): boolean {
  const end = offset + sizeBytes;
  const closedFrom = Math.min(Math.max(record.sealingBytes, offset), end);
  const isEmpty =
    closedFrom === offset ||
    done(() => {
      ranges.discard(range, offset, closedFrom - offset);
    });
  const isClosed = closedFrom === end || ranges.wipe(range, closedFrom, end - closedFrom);
  return isEmpty && isClosed;
}

function done(act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (!(error instanceof JitError)) throw error;
    return false;
  }
}
