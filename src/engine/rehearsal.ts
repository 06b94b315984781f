/**
 * Plays allocations, releases and shrinks through, on an allocator of its own, before a thread makes its first one.
 *
 * V8 compiles a function when it is first called, which takes 44 KiB of stack. As long as an operation may call one that
 * nobody has called, it has to look for that much, which takes microseconds (base/stack.ts). Behind the rehearsal
 * these do not: the first thousand operations of a process take 1.2 ms instead of 7.
 *
 * Each way is played once or twice. V8 begins to count which ways a function takes after some calls more, and what the
 * rehearsal does as often as the usual would stay in what it compiles for the hot paths.
 */
import { quietly } from "../base/diagnostics.ts";
import { needMuchStack, usualLooks } from "../base/stack.ts";
import type { Address } from "../ffi/contract.ts";
import type { VirtualMemory } from "../vm/contract.ts";
import { Engine } from "./engine.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";

/** The options by which they call different functions. */
const DECISIVE = ["useDualMapping", "useMultiplePools", "fillUnusedMemory", "useRange"] as const;

/** Bytes: what the rehearsal allocates, and a block more. */
const LEAST_LIMIT_BYTES = 2 ** 20;

/** The options that were rehearsed in this thread. */
const rehearsed = new Set<string>();

/**
 * Rehearses for allocators with these options, once in each thread. Never throws: where the system has no memory for it, the
 * first operations look for stack instead.
 */
export function rehearse(options: Readonly<ResolvedJitAllocatorOptions>, memory: VirtualMemory): void {
  const key = DECISIVE.map((name) => Number(options[name])).join("");
  if (rehearsed.has(key)) return;
  rehearsed.add(key);
  try {
    quietly(() => {
      rehearseOn(options, memory);
    });
  } catch {
    // The first operations look.
  }
}

function rehearseOn(options: Readonly<ResolvedJitAllocatorOptions>, memory: VirtualMemory): void {
  needMuchStack();
  const maxReservedSize = Math.max(options.maxReservedSize, LEAST_LIMIT_BYTES, 4 * options.blockSize);
  const plain = { reserveForMustSucceed: 0, near: undefined, sealed: false, protectWrites: "none" } as const;
  const engine = new Engine({ ...options, ...plain, maxReservedSize }, memory);
  try {
    // The way of operations that look, and of all that cannot take a short one.
    const address = engine.allocAddress(2 * options.granularity);
    engine.shrink(address, 1);
    engine.release(address);
    usualLooks.end();
    play(engine);
  } finally {
    engine.dispose();
  }
}

/** So many allocations that half of them are more than the core enters in its index one by one. */
const MANY = 24;

/** Steps: an allocation over so many words of bits that the core looks at their summary. */
const LONG = 320;

function play(engine: Engine): void {
  // Where there are several pools, all these lengths belong to one.
  const step = 4 * engine.options.granularity;
  const take = (steps: number): Address => engine.allocAddress(steps * step);
  const release = (address: Address): void => {
    engine.release(address);
  };
  // A run over many words, which is measured from behind, taken in two parts, and measured from before.
  const whole = take(LONG);
  const behind = take(1);
  const last = take(1);
  release(whole);
  release(behind);
  const before = take(1);
  const rest = take(LONG - 1);
  const other = take(LONG); // in a second block
  release(rest);
  release(before);
  // Short runs: between two that stay, then between two others. Parts of them are taken again.
  const many = Array.from({ length: MANY }, (_, index) => take(1 + (index % 3)));
  many.filter((_, index) => index % 2 === 0).forEach(release);
  many.filter((_, index) => index % 4 === 1).forEach(release);
  const parts = [take(1), take(2), take(4)];
  engine.shrink(last, 1);
  engine.shrink(other, step);
  const span = engine.alloc(2 * step);
  engine.tokenOf(span); // from now on the block counts generations
  span.shrink(1);
  span.release();
  engine.alloc(step).release();
  // Both blocks become empty: the first is kept and used again, the second goes.
  [last, ...parts, ...many.filter((_, index) => index % 4 === 3), other].forEach(release);
  release(take(1));
}
