/**
 * Calls, once in each thread, what operations call, on an allocator of its own that has no memory.
 *
 * Engines compile a function when it is first called, and V8 needs 40 KiB of stack for that. If the stack ended there, an
 * operation would end in the middle. So all that an operation may call after it has begun to change something is called
 * before any real operation: while an allocator is made, which checks for the stack first (base/stack.ts). What an
 * operation calls after it has asked for that much stack itself need not be called here: the mapping of a block, a reset.
 */
import type { Address } from "../ffi/contract.ts";
import type { DualMapping, MemoryInfo, MemoryLimit, ProbeStep, VirtualMemory } from "../vm/contract.ts";
import { Engine } from "./engine.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import type { Span } from "./span.ts";

const done = { plain: false, filled: false };

/**
 * Rehearses what an allocator with these options will do, unless this thread has done so before.
 *
 * Precondition: the stack has room for a first call.
 * @throws JitError `ERR_OUT_OF_MEMORY` where the system has no addresses for the metadata
 */
export function rehearse({ fillUnusedMemory }: Pick<ResolvedJitAllocatorOptions, "fillUnusedMemory">): void {
  const kind = fillUnusedMemory ? "filled" : "plain";
  if (done[kind]) return;
  play(new Engine({ ...OPTIONS, fillUnusedMemory }, new NoMemory()));
  done[kind] = true;
}

/** Longer than what most operations have a short path for: 32 granules. */
const LONG_BYTES = 4096;

const BLOCK_BYTES = 64 * 1024;

const OPTIONS: Readonly<ResolvedJitAllocatorOptions> = {
  useDualMapping: true,
  useMultiplePools: false,
  fillUnusedMemory: false,
  immediateRelease: false,
  disableInitialPadding: false,
  useLargePages: false,
  alignBlockSizeToLargePage: false,
  blockSize: BLOCK_BYTES,
  granularity: 64,
  fillPattern: 0,
  maxReservedSize: 16 * BLOCK_BYTES,
  useRange: false,
  near: undefined,
};

/**
 * A short program of random steps that calls all there is to call. Found by trying: test/engine/rehearsal.test.ts names what
 * it misses, and then another seed or more steps are needed.
 */
const SEED = 10;
const STEPS = 60;

function play(engine: Engine): void {
  let state = SEED;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  // A block's use falls from nearly all to below a quarter: its free pages would go back to the system.
  const sizes = Array.from({ length: 32 }, (_, index) => (index < 15 ? LONG_BYTES : 1));
  const addresses = sizes.map((size) => engine.allocAddress(size));
  for (const address of addresses.slice(0, 16)) engine.release(address);
  const spans: Span[] = [];
  for (let step = 0; step < STEPS; step++) {
    const chosen = below(16);
    const index = below(spans.length + 1);
    const span = spans[index];
    if (span === undefined || chosen < 8) {
      spans.push(engine.alloc(1 + below(chosen === 0 ? 30000 : 3000)));
    } else if (chosen < 12) {
      spans.splice(index, 1);
      engine.release(chosen === 8 ? span.rx : chosen === 9 ? engine.query(span.rx) : span);
    } else if (chosen < 14) {
      engine.shrink(chosen === 12 ? span : span.rx, Math.max(1, span.size >> 1));
    } else if (chosen === 14) {
      engine.spanOf(engine.tokenOf(span));
    } else {
      engine.writeBack(span, engine.copyToWrite(span).buffer, Math.max(1, span.size >> 1), "never");
    }
  }
  const long = engine.allocAddress(LONG_BYTES);
  engine.shrink(long, 1);
  engine.release(long);
  // Many in a row: their free runs are left to the allocations that follow.
  for (const span of spans.splice(4)) engine.release(span);
  engine.dispose();
}

/** What only a machine has. The rehearsal never asks for it. */
function notThere(): never {
  throw new Error("There is no memory in a rehearsal");
}

/** Memory that is not there: nothing but addresses, as large as those of a real system. */
class NoMemory implements VirtualMemory {
  readonly name = "simulated";
  #next = 0x7f00_0000_0000;

  allocDualMapping(sizeBytes: number): DualMapping {
    const rx = this.#next;
    this.#next += 2 * sizeBytes;
    return { rx, rw: rx + sizeBytes };
  }

  openView(_address: Address, sizeBytes: number): Uint8Array {
    return new Uint8Array(sizeBytes);
  }

  info(): MemoryInfo {
    return { pageSize: BLOCK_BYTES, pageGranularity: BLOCK_BYTES };
  }

  largePageSize(): number {
    return 0;
  }

  probe(): readonly ProbeStep[] {
    return [];
  }

  limits(): readonly MemoryLimit[] {
    return [];
  }

  releaseDualMapping(): void {
    // Addresses are not used again.
  }

  closeView(): void {
    // A view is an array of its own.
  }

  flushInstructionCache(): void {
    // Nothing is run.
  }

  readonly alloc = notThere;
  readonly release = notThere;
  readonly protect = notThere;
  readonly hardenedRuntimeInfo = notThere;
  readonly protectJitMemory = notThere;
  readonly copyIn = notThere;
  readonly copyOut = notThere;
}
