/**
 * A thread that dies at a given moment, in JavaScript alone: an allocator whose buffers are seen through proxies that
 * count writes, on memory that counts calls. At the moment chosen, everything shared is copied; whatever the code that
 * is being killed does after that (its `finally` blocks run, which those of a killed thread do not) is undone by
 * putting the copies back.
 */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import type { Address } from "../../src/ffi/contract.ts";
import type { SharedAllocator } from "../../src/index.ts";
import { resolveOptions } from "../../src/engine/options.ts";
import { SharedEngine } from "../../src/sharing/shared-engine.ts";
import type { ThreadInspector } from "../../src/sharing/members.ts";
import { Field } from "../../src/sharing/layout.ts";
import { SharedState, viewsOf } from "../../src/sharing/shared-state.ts";
import type { RangeRequest } from "../../src/vm/range/contract.ts";
import type {
  AddressRange,
  DualMapping,
  MappedRange,
  MappingJournal,
  MappingTag,
  MemoryFlags,
  RangeMemory,
  ReservedRange,
  VirtualMemory,
} from "../../src/vm/contract.ts";
import { Call, Journal, type NotedFunction } from "../../src/vm/journal.ts";
import type { SimulatedMemory } from "../../src/vm/simulated.ts";

/** What is thrown in place of the thread's end. */
export class Killed extends Error {}

/** All simulated threads run in this one, which is what tells the others that none of them is inside the lock. */
const THREADS: ThreadInspector = {
  currentThread: () => ({ id: 1, mark: 1 }),
  isAlive: () => true,
};

const LOCK: number = Field.lock;

/** Counts moments, and ends the thread at one of them. */
export class Fate {
  /** How many moments passed since `arm`. */
  moments = 0;
  /** Sees what is there at each of them. */
  onMoment: (() => void) | undefined;
  #fatal = Number.POSITIVE_INFINITY;
  #isDead = false;
  readonly #onDeath: () => void;

  constructor(onDeath: () => void) {
    this.#onDeath = onDeath;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** The moment with that number, from 1, is the last. */
  arm(fatal: number): void {
    this.moments = 0;
    this.#fatal = fatal;
  }

  /** A moment passes. */
  pass(): void {
    if (this.#isDead) throw new Killed();
    this.moments += 1;
    this.onMoment?.();
    if (this.moments < this.#fatal) return;
    this.#onDeath();
    this.#isDead = true;
    throw new Killed();
  }
}

/** How a repair finds what nobody has registered: asking the system by its name, or by the journal alone. */
export type Finding = "names" | "journal";

/**
 * Memory as one simulated thread uses it: its views are its own, and each call has a moment before and one after.
 */
export function memoryOf(machine: SimulatedMemory, fate: Fate, finding: Finding = "names"): VirtualMemory {
  const mortal = <T>(act: () => T): T => {
    fate.pass();
    const result = act();
    fate.pass();
    return result;
  };
  const noted = notedMemory(machine, mortal);
  const isNoted = finding === "journal";
  const ranges = rangesOf(machine, fate, isNoted ? noted : undefined);
  return {
    ...(ranges === undefined ? {} : { ranges }),
    name: "simulated",
    info: () => machine.info(),
    largePageSize: () => machine.largePageSize(),
    hardenedRuntimeInfo: () => machine.hardenedRuntimeInfo(),
    probe: () => machine.probe(),
    limits: () => machine.limits(),
    protectJitMemory: () => undefined,
    alloc: (size, flags, tag) =>
      isNoted ? noted.alloc(size, flags, tag) : mortal(() => machine.alloc(size, flags, tag)),
    release: (address, size, tag) => {
      if (isNoted) noted.release({ rx: address, rw: address }, size, tag?.journal);
      else mortal(() => machine.release(address, size));
    },
    protect: (address, size, flags) => mortal(() => machine.protect(address, size, flags)),
    allocDualMapping: (size, flags, tag) =>
      isNoted
        ? noted.allocDualMapping(size, flags, tag)
        : mortal(() => machine.allocDualMapping(size, flags, tag)),
    releaseDualMapping: (mapping, size, tag) => {
      if (isNoted) noted.release(mapping, size, tag?.journal);
      else mortal(() => machine.releaseDualMapping(mapping, size));
    },
    flushInstructionCache: (address, size) => mortal(() => machine.flushInstructionCache(address, size)),
    openView: (address, size) => machine.alias(address, size),
    closeView: () => undefined,
    copyIn: (address, bytes, length) =>
      mortal(() => machine.alias(address, length).set(bytes.subarray(0, length))),
    storeAtomically: (address, bytes) => mortal(() => machine.storeAtomically(address, bytes)),
    copyOut: (address, copy) => copy.set(machine.alias(address, copy.length)),
    sharing: {
      currentThread: () => THREADS.currentThread(),
      isAlive: () => true,
      prepare: () => undefined,
      openJournal: (storage) => new Journal(storage),
      reclaim: (tagName, kept, journal) => {
        if (isNoted) noted.giveBack(kept, journal);
        else mortal(() => machine.reclaim(tagName, kept));
      },
    },
  };
}

const MAPPING = { call: Call.map, failure: -1, isWide: true };
const UNMAPPING = { call: Call.unmap, failure: -1, isWide: false };

/** What the thread notes of ranges. */
type RangeNotes = Pick<ReturnType<typeof notedMemory>, "reserveRange" | "releaseRange">;

/** Ranges as one simulated thread uses them. It may die between any two calls of the system that a step is made of. */
function rangesOf(
  machine: SimulatedMemory,
  fate: Fate,
  noted: RangeNotes | undefined,
): RangeMemory | undefined {
  const { ranges } = machine;
  if (ranges === undefined) return undefined;
  const mortal = <T>(act: () => T): T => {
    fate.pass();
    const result = act();
    fate.pass();
    return result;
  };
  return {
    stepBytes: ranges.stepBytes,
    reserve: (request) => noted?.reserveRange(request) ?? mortal(() => ranges.reserve(request)),
    release: (range, tag, _isUntouched, sealedBytes) => {
      if (noted === undefined) mortal(() => ranges.release(range, tag, false, sealedBytes));
      else noted.releaseRange(range, tag?.journal, sealedBytes);
    },
    sealRefusal: () => undefined,
    seal: (range, offset, size) => mortal(() => ranges.seal(range, offset, size)),
    commit: (range, offset, size, isUnclean, kind) => {
      const isForData = kind === "data";
      fate.pass();
      if (isUnclean) ranges.wipe(range, offset, size, isForData);
      ranges.soil(range, offset, size);
      fate.pass();
      ranges.wipe(range, offset, size, isForData);
      ranges.commit(range, offset, size, false, kind);
      fate.pass();
    },
    decommit: (range, offset, size, kind) => {
      fate.pass();
      const isClean = ranges.decommit(range, offset, size, kind);
      ranges.soil(range, offset, size);
      fate.pass();
      if (isClean) ranges.wipe(range, offset, size, kind === "data");
      fate.pass();
      return isClean;
    },
    wipe: (range, offset, size, isForData) => mortal(() => ranges.wipe(range, offset, size, isForData)),
    discard: (range, offset, size) => mortal(() => ranges.discard(range, offset, size)),
    adviseLargePages: () => undefined,
    residentPages: () => undefined,
  };
}

/** The calls of a simulated thread whose results a routine notes: nothing can come between the two. */
function notedMemory(machine: SimulatedMemory, mortal: <T>(act: () => T) => T) {
  const note = <T>(
    journal: MappingJournal | undefined,
    call: NotedFunction,
    range: MappedRange,
    act: () => T,
    resultOf: (made: T) => number,
  ): T => {
    if (!(journal instanceof Journal)) return mortal(act);
    const slot = journal.begin(call, range.address, range.sizeBytes, true);
    return mortal(() => {
      slot.set([-1, -1]);
      const made = act();
      const result = resultOf(made);
      const high = Math.floor(result / 2 ** 32);
      slot.set([result - high * 2 ** 32, high]);
      return made;
    });
  };
  const spanOf = ({ rx, rw }: DualMapping, sizeBytes: number): MappedRange => ({
    address: rx,
    sizeBytes: rx === rw ? sizeBytes : 2 * sizeBytes,
  });
  const release = (mapping: DualMapping, size: number, journal: MappingJournal | undefined): void => {
    const act = (): void => {
      if (mapping.rx === mapping.rw) machine.release(mapping.rx, size);
      else machine.releaseDualMapping(mapping, size);
    };
    note(journal, UNMAPPING, spanOf(mapping, size), act, () => 0);
  };
  const releaseRange = (
    range: AddressRange,
    journal: MappingJournal | undefined,
    sealedBytes?: number,
  ): void => {
    note(
      journal,
      UNMAPPING,
      spanOf(range, range.sizeBytes),
      () => machine.ranges?.release(range, undefined, false, sealedBytes),
      () => 0,
    );
  };
  return {
    reserveRange: (request: RangeRequest): ReservedRange | undefined => {
      const act = (): ReservedRange | undefined => machine.ranges?.reserve(request);
      const sizeBytes = request.isDual ? 2 * request.sizeBytes : request.sizeBytes;
      return note(request.tag?.journal, MAPPING, { address: 0, sizeBytes }, act, (range) => range?.rx ?? -1);
    },
    releaseRange,
    alloc: (size: number, flags: MemoryFlags, tag?: MappingTag): Address => {
      const act = (): Address => machine.alloc(size, flags, tag);
      return note(tag?.journal, MAPPING, { address: 0, sizeBytes: size }, act, (address) => address);
    },
    allocDualMapping: (size: number, flags: MemoryFlags, tag?: MappingTag): DualMapping => {
      const act = (): DualMapping => machine.allocDualMapping(size, flags, tag);
      return note(tag?.journal, MAPPING, { address: 0, sizeBytes: 2 * size }, act, ({ rx }) => rx);
    },
    release,
    giveBack: (kept: readonly MappedRange[], journal: MappingJournal | undefined): void => {
      assert.ok(journal instanceof Journal);
      const isLost = ({ address }: MappedRange): boolean => kept.every((range) => range.address !== address);
      // Both views go at once.
      for (let held; (held = journal.heldRanges().find(isLost)) !== undefined;) {
        const { address } = held;
        const range = machine.ranges?.all.find(
          ({ rx, rw, sizeBytes }) => address >= rx && address < rw + sizeBytes,
        );
        if (range !== undefined) {
          releaseRange(range, journal, (address - range.rx) % range.sizeBytes);
          continue;
        }
        const mapping = machine.mappings.find(({ rx }) => rx === address);
        assert.ok(mapping, "what is held is mapped");
        release(mapping, mapping.sizeBytes, journal);
      }
    },
  };
}

/** The same array, with a moment before each write; `fill` and `copyWithin` have one in the middle too. */
export function watched<T extends Int32Array | Float64Array | Uint16Array>(array: T, fate: Fate): T {
  const fill = (value: number, start = 0, end = array.length): T => {
    if (array.subarray(start, end).every((element) => element === value)) return array;
    const middle = (start + end) >>> 1;
    fate.pass();
    array.fill(value, start, middle);
    fate.pass();
    array.fill(value, middle, end);
    return array;
  };
  const copyWithin = (target: number, start: number, end: number): T => {
    const middle = (start + end) >>> 1;
    const rest = array.slice(middle, end);
    fate.pass();
    array.copyWithin(target, start, middle);
    fate.pass();
    array.set(rest, target + middle - start);
    return array;
  };
  return new Proxy(array, {
    get: (_, key) => {
      if (key === "fill") return fill;
      if (key === "copyWithin") return copyWithin;
      const value: unknown = Reflect.get(array, key, array);
      return typeof value === "function" ? (value.bind(array) as unknown) : value;
    },
    set: (_, key, value) => {
      // A write that changes nothing leaves the state that the moment before it had.
      if (array[Number(key)] !== value) fate.pass();
      return Reflect.set(array, key, value, array);
    },
  });
}

/** A thread attached to a shared allocator, which dies at the moment that `fate.arm` names. */
export interface MortalThread {
  readonly engine: SharedEngine;
  readonly fate: Fate;
  /** Attaches once more, as another member. */
  attachAgain(): SharedEngine;
  /** After its death: puts back what was shared at that moment. */
  undoAfterlife(): void;
}

/**
 * Attaches a mortal thread.
 * @param fatal a moment of the attaching itself, which may have to repair
 * @param finding as for {@link memoryOf}
 * @throws Killed where that moment comes; what the thread did after its death is undone
 */
export function mortalThread(
  handle: SharedAllocator,
  machine: SimulatedMemory,
  fatal = Number.POSITIVE_INFINITY,
  finding: Finding = "names",
): MortalThread {
  let coreBytes = new Uint8Array();
  let stateBytes = new Uint8Array();
  const fate = new Fate(() => {
    coreBytes = new Uint8Array(handle.buffer).slice();
    stateBytes = new Uint8Array(handle.state).slice();
  });
  const memory = memoryOf(machine, fate, finding);
  const options = resolveOptions(handle.options, memory);
  const views = viewsOf(handle.state);
  const watchedViews = {
    words: watched(views.words, fate),
    doubles: watched(views.doubles, fate),
    owners: watched(views.owners, fate),
  };
  const enter = (): SharedEngine => {
    const engine = new Engine(options, memory, handle);
    watchCore(engine, fate);
    return new SharedEngine(engine, new SharedState(handle.state, watchedViews), THREADS);
  };
  const shared = enter();
  const undoAfterlife = (): void => {
    new Uint8Array(handle.buffer).fill(0).set(coreBytes);
    new Uint8Array(handle.state).set(stateBytes);
  };
  fate.arm(fatal);
  try {
    shared.join();
  } catch (error) {
    if (fate.isDead) undoAfterlife();
    throw error;
  }
  const attachAgain = (): SharedEngine =>
    watchingAtomics(fate, () => {
      const another = enter();
      another.join();
      return another;
    });
  return { engine: shared, fate, undoAfterlife, attachAgain };
}

/** Does something with a moment before each write of Atomics to a table, which that of the lock is not. */
function watchingAtomics<T>(fate: Fate, act: () => T): T {
  const { compareExchange, store } = Atomics;
  const exchange = (array: Int32Array, index: number, expected: number, value: number): number => {
    if (index !== LOCK && array[index] === expected) fate.pass();
    return compareExchange(array, index, expected, value);
  };
  const set = (array: Int32Array, index: number, value: number): number => {
    fate.pass();
    return store(array, index, value);
  };
  Object.assign(Atomics, { compareExchange: exchange, store: set });
  try {
    return act();
  } finally {
    Object.assign(Atomics, { compareExchange, store });
  }
}

/** Whenever the core's arena makes its views anew, they are watched too; the core takes them from there. */
function watchCore({ core }: Engine, fate: Fate): void {
  const { arena } = core;
  let { words, doubles } = arena;
  Object.defineProperty(arena, "words", {
    get: () => words,
    set: (array: Int32Array) => (words = watched(array, fate)),
  });
  Object.defineProperty(arena, "doubles", {
    get: () => doubles,
    set: (array: Float64Array) => (doubles = watched(array, fate)),
  });
  arena.words = words;
  arena.doubles = doubles;
  core.words = arena.words;
  core.doubles = arena.doubles;
}
