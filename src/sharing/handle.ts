/** Passes an allocator from one thread to another: makes the handle that is sent, and an engine from a handle. */
import { blockUnits, generationUnits } from "../core/block.ts";
import { Format, Unit } from "../core/layout.ts";
import { isStateBuffer } from "../core/state.ts";
import { Engine } from "../engine/engine.ts";
import { JitError } from "../base/errors.ts";
import { isSharedBuffer } from "../base/intrinsics.ts";
import { coreOptionsOf, memoryFor, resolveOptions } from "../engine/options.ts";
import type { ResolvedJitAllocatorOptions } from "../engine/options.ts";
import { outOfAddresses, refuseValue } from "../engine/refusals.ts";
import { SharedEngine } from "./shared-engine.ts";
import type { ThreadInspector } from "./members.ts";
import { SharedState } from "./shared-state.ts";
import type { VirtualMemory } from "../vm/contract.ts";

/**
 * A shared allocator as a message: what `JitAllocator.share` returns, for `postMessage` or `workerData`, and what
 * `JitAllocator.attach` takes. Its fields are private; changing the contents of the buffers breaks the allocator.
 */
export interface SharedAllocator {
  /** Tells the handle from other messages. */
  readonly kind: "jit-allocator";
  /** The arena, with all metadata of the allocator. */
  readonly buffer: SharedArrayBuffer;
  /** The state by which the threads coordinate: the lock, the members and the register of blocks. */
  readonly state: SharedArrayBuffer;
  /** The name by which the allocator's memory can be found in the system. */
  readonly tagName: string;
  /** The options of the allocator. */
  readonly options: Readonly<ResolvedJitAllocatorOptions>;
}

/** The form of the names that `uniqueName` makes. */
const TAG_NAME = /^[0-9x]{5,32}$/;

/** Puts a {@link SharedEngine}, which locks, before the engine of an allocator that one thread had for itself. */
export function shareEngine(engine: Engine, memory: VirtualMemory): SharedEngine {
  const { releaseCount } = engine;
  const seal = sealOf(engine.tagName, engine.options);
  const shared = new SharedEngine(engine, makeState(engine.options, seal), threadsOf(memory));
  try {
    shared.enrol();
    engine.core.seal = seal;
  } catch (error) {
    engine.ownAgain(releaseCount + 1); // no other thread knows of the attempt
    throw error;
  }
  return shared;
}

/** @throws JitError `ERR_OUT_OF_MEMORY` */
function makeState(options: Readonly<ResolvedJitAllocatorOptions>, seal: number): SharedState {
  const { blockSize, granularity, maxReservedSize, useMultiplePools } = options;
  // The smallest block has `blockSize` bytes. It has the fewest granules in the pool with the largest granules.
  const leastCapacity = blockSize / (useMultiplePools ? 4 * granularity : granularity);
  const leastIntegers = (blockUnits(leastCapacity) + generationUnits(leastCapacity)) * Unit.integers;
  const mostBlocks = Math.min(Math.ceil(maxReservedSize / blockSize), Format.maxIntegers / leastIntegers);
  try {
    // A new block may already be mapped when the block that it replaces goes.
    return SharedState.create(Math.ceil(mostBlocks) + 4, seal);
  } catch (cause) {
    if (cause instanceof RangeError) throw outOfAddresses("share an allocator", maxReservedSize, cause);
    throw cause;
  }
}

/** The seal: 32 bits (FNV-1a) of the name and all options. It keeps parts of different handles from going together. */
function sealOf(tagName: string, options: Readonly<ResolvedJitAllocatorOptions>): number {
  let hash = 0x811c_9dc5;
  for (const character of JSON.stringify([tagName, options])) {
    hash = Math.imul(hash ^ character.charCodeAt(0), 0x0100_0193);
  }
  return hash;
}

/** The handle of a shared allocator. */
export function handleOf({ engine, state }: SharedEngine): SharedAllocator {
  return {
    kind: "jit-allocator",
    buffer: engine.core.buffer,
    state: state.buffer,
    tagName: engine.tagName,
    options: { ...engine.options },
  };
}

/** Makes this thread's engine for the allocator of a handle. @throws JitError as `JitAllocator.attach` */
export function attachEngine(handle: unknown, system: VirtualMemory): SharedEngine {
  const { buffer, state, tagName, options } = checkHandle(handle, system);
  const memory = memoryFor(options, system, true);
  const engine = new Engine(options, memory, { buffer, tagName });
  const shared = new SharedEngine(engine, new SharedState(state), threadsOf(memory));
  shared.join();
  try {
    shared.checkOpen("attach");
  } catch (error) {
    shared.detach();
    throw error;
  }
  return shared;
}

function checkHandle(handle: unknown, memory: VirtualMemory): SharedAllocator {
  if (typeof handle !== "object" || handle === null) throw noHandle(handle);
  // Each field is read once: a getter must not be able to give another value after the check.
  const { kind, buffer, state, tagName, options } = handle as Partial<Record<keyof SharedAllocator, unknown>>;
  if (
    kind !== "jit-allocator" ||
    !isSharedBuffer(buffer) ||
    !isSharedBuffer(state) ||
    typeof tagName !== "string" ||
    !TAG_NAME.test(tagName) ||
    typeof options !== "object" ||
    options === null
  ) {
    throw noHandle(handle);
  }
  const resolved = resolveOptions(options, memory);
  const seal = sealOf(tagName, resolved);
  if (!isStateBuffer(buffer, coreOptionsOf(resolved), seal) || !SharedState.isOne(state, seal)) {
    throw new JitError(
      "ERR_INVALID_ARGUMENT",
      "Cannot attach: the handle was changed, or is of another version of this library",
    );
  }
  return { kind, buffer, state, tagName, options: resolved };
}

function noHandle(handle: unknown): JitError {
  return refuseValue("attach to", handle, "the handle must be one that JitAllocator.share() returned");
}

/** Where the system cannot identify threads, members are told apart by numbers from the shared buffer. */
function threadsOf({ sharing }: VirtualMemory): ThreadInspector {
  return sharing ?? { currentThread: () => undefined, isAlive: () => undefined };
}
