/** asmjit's own unit test, in its twelve configurations, on real memory. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, type Span } from "../../../src/index.ts";
import type { VirtualMemory } from "../../../src/vm/contract.ts";
import { systemMemory } from "../../../src/vm/select.ts";
import { UNIT_TEST_CONFIGURATIONS, type Configuration } from "../../support/config.ts";
import { IntervalSet } from "../../support/interval-set.ts";
import { runUnitWorkload, type UnitSubject } from "../../support/unit-workload.ts";

/** As many as asmjit's test: addresses alone are cheap enough. The suites for other runtimes and systems take fewer. */
const ADDRESS_COUNT = Number(process.env["UNIT_ADDRESSES"] ?? 100_000);
/**
 * Fewer where every byte is written once and read twice: 100,000 would move some 3 GB in the twelve configurations
 * and take minutes; 10,000 still fill several blocks that grew, and every phase sees holes of every size.
 */
const PATTERN_COUNT = 10_000;
/** Any number would do; the same one makes the twelve configurations comparable. */
const SEED = 0x5eed;

/** The addresses alone, on allocAddress, with the second structure. */
class AddressSubject implements UnitSubject {
  readonly #addresses: number[] = [];
  readonly #sizes: number[] = [];
  readonly #live = new IntervalSet();
  readonly #allocator: JitAllocator;

  constructor(allocator: JitAllocator) {
    this.#allocator = allocator;
  }

  alloc(slot: number, sizeBytes: number): void {
    const { granularity } = this.#allocator;
    const size = Math.ceil(sizeBytes / granularity) * granularity;
    const address = this.#allocator.allocAddress(sizeBytes);
    this.#live.add(address, size, slot);
    this.#addresses[slot] = address;
    this.#sizes[slot] = size;
  }

  release(slot: number): void {
    const address = this.#addresses[slot] ?? NaN;
    this.#allocator.release(address);
    this.#live.remove(address, this.#sizes[slot] ?? NaN, slot);
  }

  shrink(slot: number, newSizeBytes: number): void {
    const address = this.#addresses[slot] ?? NaN;
    this.#allocator.shrink(address, newSizeBytes);
    const before = this.#sizes[slot] ?? NaN;
    const after = this.#allocator.query(address).size;
    assert.ok(after >= newSizeBytes && after <= before);
    this.#live.remove(address + after, before - after, slot);
    this.#sizes[slot] = after;
  }

  query(slot: number): void {
    const address = this.#addresses[slot] ?? NaN;
    const size = this.#sizes[slot] ?? NaN;
    const span = this.#allocator.query(address + ((slot * 31) % size));
    if (span.rx !== address || span.size !== size) assert.deepEqual([span.rx, span.size], [address, size]);
  }

  phase(name: string): void {
    this.#allocator.verify();
    const { usedSize, blockCount, allocationCount } = this.#allocator.statistics();
    const padding = this.#allocator.blocks().reduce((sum, block) => sum + block.granularity, 0);
    const paddings = this.#allocator.hasOption("disableInitialPadding") ? 0 : padding;
    assert.equal(
      usedSize - paddings,
      this.#live.sizeBytes,
      `${name}: ${allocationCount} in ${blockCount} blocks`,
    );
  }
}

/** Every allocation filled with its own 64-bit pattern through rw, and read through both views at its release. */
class PatternSubject implements UnitSubject {
  readonly #spans: Span[] = [];
  readonly #live = new IntervalSet();
  readonly #views: RxViews;
  readonly #allocator: JitAllocator;

  constructor(allocator: JitAllocator, memory: VirtualMemory) {
    this.#allocator = allocator;
    this.#views = new RxViews(allocator, memory);
  }

  alloc(slot: number, sizeBytes: number): void {
    const span = this.#allocator.alloc(sizeBytes);
    this.#live.add(span.rx, span.size, slot);
    this.#views.allocated(span.rx);
    span.write(0, patternOf(slot, span.size));
    this.#spans[slot] = span;
  }

  release(slot: number): void {
    const span = this.#span(slot);
    this.#check(slot, span);
    const { rx, size } = span;
    this.#views.aboutToRelease(rx);
    span.release();
    this.#live.remove(rx, size, slot);
  }

  shrink(slot: number, newSizeBytes: number): void {
    const span = this.#span(slot);
    const before = span.size;
    span.shrink(newSizeBytes);
    this.#live.remove(span.rx + span.size, before - span.size, slot);
    this.#check(slot, span);
  }

  query(slot: number): void {
    const span = this.#span(slot);
    const found = this.#allocator.query(span.rx + span.size - 1);
    assert.deepEqual([found.rx, found.rw, found.size], [span.rx, span.rw, span.size]);
    this.#check(slot, span);
  }

  phase(): void {
    this.#allocator.verify();
  }

  #span(slot: number): Span {
    const span = this.#spans[slot];
    assert.ok(span !== undefined && !span.isReleased);
    return span;
  }

  #check(slot: number, span: Span): void {
    const expected = patternOf(slot, span.size);
    assert.equal(Buffer.compare(span.read(), expected), 0, `slot ${slot} through rw`);
    const seen = this.#views.at(span.rx, span.size);
    assert.equal(Buffer.compare(seen, expected), 0, `slot ${slot} through rx`);
  }
}

/** A block, as far as it matters to where its bytes are. */
interface Place {
  readonly rx: number;
  readonly size: number;
  liveCount: number;
}

/**
 * One view of each block's rx side, opened when it is first needed. A release that empties a block may unmap it,
 * or the block kept empty until then; so all views are closed before such a release.
 */
class RxViews {
  readonly #views = new Map<number, Uint8Array>();
  readonly #allocator: JitAllocator;
  readonly #memory: VirtualMemory;
  #places: Place[] = [];

  constructor(allocator: JitAllocator, memory: VirtualMemory) {
    this.#allocator = allocator;
    this.#memory = memory;
  }

  /** The bytes at rx, as the processor would fetch them. */
  at(rx: number, sizeBytes: number): Uint8Array {
    const place = this.#placeOf(rx);
    let view = this.#views.get(place.rx);
    if (view === undefined) {
      view = this.#memory.openView(place.rx, place.size);
      this.#views.set(place.rx, view);
    }
    return view.subarray(rx - place.rx, rx - place.rx + sizeBytes);
  }

  allocated(rx: number): void {
    this.#placeOf(rx).liveCount++;
  }

  aboutToRelease(rx: number): void {
    const place = this.#placeOf(rx);
    place.liveCount--;
    if (place.liveCount > 0) return;
    for (const view of this.#views.values()) this.#memory.closeView(view);
    this.#views.clear();
    this.#places = this.#places.filter(({ liveCount }) => liveCount > 0);
  }

  #placeOf(rx: number): Place {
    const holds = (candidate: { readonly rx: number; readonly size: number }): boolean =>
      rx >= candidate.rx && rx < candidate.rx + candidate.size;
    let place = this.#places.find(holds);
    if (place === undefined) {
      const block = this.#allocator.blocks().find(holds);
      assert.ok(block, "every allocation lies in a block");
      place = { rx: block.rx, size: block.size, liveCount: 0 };
      this.#places.push(place);
    }
    return place;
  }
}

/** `sizeBytes` bytes that repeat a 64-bit pattern of the slot's own. */
function patternOf(slot: number, sizeBytes: number): Uint8Array {
  const words = new Uint32Array(sizeBytes / 4);
  words.fill(0x9e37_79b9 ^ slot);
  // The upper half differs from the lower one, so that a pattern shifted by four bytes is another one.
  for (let index = 1; index < words.length; index += 2) words[index] = Math.imul(slot + 1, 0x85eb_ca6b);
  return new Uint8Array(words.buffer);
}

function runOn(
  configuration: Configuration,
  count: number,
  make: (allocator: JitAllocator) => UnitSubject,
): void {
  const allocator = new JitAllocator(configuration.options);
  try {
    runUnitWorkload(make(allocator), count, SEED);
    const statistics = allocator.statistics();
    assert.equal(statistics.allocationCount, 0);
    const pools = allocator.hasOption("useMultiplePools") ? 3 : 1;
    assert.ok(statistics.blockCount <= (allocator.hasOption("immediateRelease") ? 0 : pools));
  } finally {
    allocator[Symbol.dispose]();
  }
}

describe("asmjit's unit test", () => {
  for (const configuration of UNIT_TEST_CONFIGURATIONS) {
    test(`${configuration.name}: ${ADDRESS_COUNT} addresses never overlap`, () => {
      runOn(configuration, ADDRESS_COUNT, (allocator) => new AddressSubject(allocator));
    });
    test(`${configuration.name}: ${PATTERN_COUNT} patterns are read back through rx and rw`, () => {
      runOn(configuration, PATTERN_COUNT, (allocator) => new PatternSubject(allocator, systemMemory()));
    });
  }
});
