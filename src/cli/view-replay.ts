/** Runs a trace on a fresh allocator, to learn where everything lies: what a trace without addresses does not say. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { JitAllocator, type JitAllocatorOptions, type JitDiagnostics } from "../index.ts";
import type { PageBlock } from "../view/contract.ts";
import { ReplayError } from "./replay-rounds.ts";
import { OperationKind, type Trace } from "./trace.ts";

/** Where the allocations of a trace were, and in which blocks. */
export interface Placement {
  /** By operation: of what it allocated; 0 for others. */
  readonly addresses: Float64Array;
  /** Bytes: what the allocation or the shrink came to; 0 for others. */
  readonly sizes: Float64Array;
  readonly blocks: readonly PageBlock[];
  readonly granularity: number;
}

/** A block that is mapped now. */
interface OpenBlock {
  readonly block: PageBlock;
  readonly end: number;
}

type Unmapped = JitDiagnostics["jit-allocator:block-unmapped"];

/** @throws ReplayError with the operation that the allocator refused */
export async function placeByReplay(
  { kinds, slots, sizes, slotCount, operationCount }: Trace,
  options: JitAllocatorOptions,
): Promise<Placement> {
  const addresses = new Float64Array(operationCount);
  const taken = new Float64Array(operationCount);
  const liveAt = new Float64Array(slotCount);
  const closed: PageBlock[] = [];
  const open: OpenBlock[] = [];
  let [last, now]: [OpenBlock | undefined, number] = [undefined, 0];

  const onUnmapped = (message: unknown): void => {
    const { rx } = message as Unmapped;
    const index = open.findIndex(({ block }) => block.rx === rx);
    const [gone] = index < 0 ? [] : open.splice(index, 1);
    if (gone !== undefined) closed.push({ ...gone.block, to: now });
    last = undefined;
  };
  const allocator = new JitAllocator(options);
  /** The block of an allocation that was just made. */
  const blockOf = (address: number): OpenBlock => {
    const isIn = ({ block, end }: OpenBlock): boolean => block.rx <= address && address < end;
    if (last !== undefined && isIn(last)) return last;
    last = open.find(isIn);
    if (last !== undefined) return last;
    for (const found of allocator.blocks()) {
      if (open.some(({ block }) => block.rx === found.rx)) continue;
      // What is in use before the first allocation is padding.
      const firstEnd = (found.granules.indexOf(2) + 1) * found.granularity;
      const padding = found.rx + firstEnd <= address ? firstEnd : 0;
      const { rx, rw, size, kind, granularity } = found;
      const block: PageBlock = { rx, rw, size, kind, granularity, padding, from: now };
      open.push({ block, end: rx + size });
    }
    last = open.find(isIn);
    if (last === undefined)
      throw new Error(`The allocator gave ${address}, which lies in none of its blocks`);
    return last;
  };

  subscribe("jit-allocator:block-unmapped", onUnmapped);
  try {
    for (let index = 0; index < operationCount; index++) {
      const slot = slots[index] ?? 0;
      const size = sizes[index] ?? 0;
      now = index + 1;
      try {
        switch (kinds[index]) {
          case OperationKind.alloc: {
            const address = allocator.allocAddress(size);
            liveAt[slot] = addresses[index] = address;
            taken[index] = rounded(size, blockOf(address).block.granularity);
            break;
          }
          case OperationKind.release:
            allocator.release(liveAt[slot] ?? 0);
            // Whoever listens for blocks that go is told in a microtask.
            await Promise.resolve();
            break;
          case OperationKind.shrink:
            taken[index] = rounded(size, blockOf(liveAt[slot] ?? 0).block.granularity);
            allocator.shrink(liveAt[slot] ?? 0, size);
            if (size === 0) await Promise.resolve();
            break;
          default:
        }
      } catch (cause) {
        throw new ReplayError(index, cause);
      }
    }
  } finally {
    unsubscribe("jit-allocator:block-unmapped", onUnmapped);
    allocator[Symbol.dispose]();
  }
  const blocks = [...closed, ...open.map(({ block }) => block)];
  return { addresses, sizes: taken, blocks, granularity: allocator.granularity };
}

/** Bytes, in whole granules. */
export function rounded(size: number, granularity: number): number {
  return Math.ceil(size / granularity) * granularity;
}
