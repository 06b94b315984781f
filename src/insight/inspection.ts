/** What consoles show of an allocator: counts, bytes, and the largest allocations. */
import { formatAddress, JitError } from "../base/errors.ts";
import { quietly } from "../base/diagnostics.ts";
import { formatBytes, formatCount } from "../base/inspect.ts";
import type { AllocatorOperations } from "../engine/operations.ts";
import type { BlockInfo } from "../engine/statistics.ts";
import type { Address } from "../ffi/contract.ts";
import { codeNameAt } from "./code-names.ts";

/** How many allocations are listed. */
const LISTED = 5;
/** What a block may list that is no allocation: the padding at either end. */
const PADDINGS = 2;

interface Allocation {
  readonly rx: Address;
  readonly size: number;
}

/**
 * Describes an allocator in some lines. Never throws: it is asked where something else has failed.
 * @param label what stands before the counts
 */
export function inspectAllocator(label: string, operations: AllocatorOperations): string {
  try {
    return quietly(() => describeAllocator(label, operations));
  } catch (error) {
    return error instanceof JitError ? `${label}: ${error.message}` : label;
  }
}

function describeAllocator(label: string, operations: AllocatorOperations): string {
  operations.checkOpen("look at");
  const { allocationCount, usedSize, reservedSize, blockCount } = operations.statistics();
  const counts =
    `${label}: ${count(allocationCount, "allocation")}, ${formatCount(usedSize)} of ` +
    `${formatBytes(reservedSize)} in ${count(blockCount, "block")}`;
  const lines = largestOf(operations).map(({ rx, size }) => {
    const name = codeNameAt(operations, rx);
    return `  ${name === undefined ? "" : `${JSON.stringify(name)} `}rx ${formatAddress(rx)} ${formatBytes(size)}`;
  });
  return [counts, ...lines].join("\n");
}

function count(number: number, what: string): string {
  return `${formatCount(number)} ${what}${number === 1 ? "" : "s"}`;
}

function largestOf(operations: AllocatorOperations): Allocation[] {
  return operations
    .describeBlocks()
    .flatMap((block) => largestIn(block, LISTED + PADDINGS))
    .sort((one, other) => other.size - one.size)
    .filter(({ rx }) => isStart(operations, rx))
    .slice(0, LISTED);
}

/** The largest runs of used granules in a block, `most` at most: its allocations, and its padding. */
function largestIn({ rx, granularity, granules }: BlockInfo, most: number): Allocation[] {
  const runs: Allocation[] = [];
  let start = -1;
  granules.forEach((state, index) => {
    if (state === 0) return;
    if (start < 0) start = index;
    if (state !== 2) return;
    runs.push({ rx: rx + start * granularity, size: (index + 1 - start) * granularity });
    start = -1;
    if (runs.length >= 2 * most) keepLargest(runs, most);
  });
  keepLargest(runs, most);
  return runs;
}

function keepLargest(runs: Allocation[], most: number): void {
  runs.sort((one, other) => other.size - one.size).splice(most);
}

/** Whether an allocation begins at an address: padding is none. */
function isStart(operations: AllocatorOperations, rx: Address): boolean {
  try {
    return operations.queryAddress(rx) === rx;
  } catch {
    return false;
  }
}
