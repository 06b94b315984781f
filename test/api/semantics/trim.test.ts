/** Memory that comes back: `trim`, and what it may not touch. On the real system, since only that has pages. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, VirtMem, type JitAllocatorOptions, type Span } from "../../../src/index.ts";
import { throwsJitError } from "../../support/expectations.ts";
import { store } from "../../support/native-call.ts";
import { Random } from "../../support/random.ts";
import { needs } from "../../support/requirements.ts";
import { someBytes } from "../../support/rows.ts";

const SEED = 20261127;
const MiB = 2 ** 20;
const CONFIGURATIONS: readonly JitAllocatorOptions[] = [
  {},
  { granularity: 256 },
  { useMultiplePools: true, granularity: 128 },
  { fillUnusedMemory: true, disableInitialPadding: true },
  { useDualMapping: false },
];

describe("trim", { skip: needs("linux") }, () => {
  const { pageSize } = VirtMem.info();

  /** Bytes of the pages that hold something live. */
  const livePagesOf = (spans: readonly Span[]): number => {
    const pages = new Set<number>();
    for (const { rx, size } of spans)
      for (let page = Math.floor(rx / pageSize); page * pageSize < rx + size; page++) pages.add(page);
    return pages.size * pageSize;
  };

  for (const options of CONFIGURATIONS) {
    test(`gives back all pages but those of what is live, and changes no byte of that, ${JSON.stringify(options)}`, () => {
      const random = new Random(SEED);
      using allocator = new JitAllocator(options);
      const all = Array.from({ length: 4000 }, () => {
        const span = allocator.alloc(random.between(1, 3000));
        span.write(0, someBytes(span.size, span.rx % 251));
        return span;
      });
      assert.ok(allocator.statistics().residentSize >= livePagesOf(all));
      const live = all.filter(() => random.chance(0.01));
      for (const span of all) if (!live.includes(span)) span.release();
      const before = allocator.statistics();
      const trimmed = allocator.trim();
      const after = allocator.statistics();
      assert.equal(before.residentSize - after.residentSize, trimmed);
      assert.ok(after.residentSize <= livePagesOf(live), `${after.residentSize}, live ${livePagesOf(live)}`);
      assert.deepEqual({ ...after, residentSize: 0 }, { ...before, residentSize: 0 });
      for (const span of live) assert.deepEqual(span.read(), someBytes(span.size, span.rx % 251));
      allocator.verify();
      assert.equal(allocator.trim(), 0, "nothing is left to give");
      const again = Array.from({ length: 500 }, () => allocator.alloc(3000));
      for (const span of again) span.write(0, someBytes(span.size));
      for (const span of again) assert.deepEqual(span.read(), someBytes(span.size));
      for (const span of live) assert.deepEqual(span.read(), someBytes(span.size, span.rx % 251));
    });
  }

  test("an empty block that is kept gives back everything", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(3 * MiB);
    span.write(0, new Uint8Array(3 * MiB).fill(1));
    const other = allocator.alloc(64);
    span.release();
    other.release();
    allocator.trim();
    const { residentSize, blockCount } = allocator.statistics();
    assert.ok(blockCount > 0);
    assert.equal(residentSize, 0);
  });

  for (const isShared of [false, true]) {
    test(`with fillUnusedMemory what comes back is filled before it is handed out${isShared ? ", by any thread" : ""}`, () => {
      using allocator = new JitAllocator({ fillUnusedMemory: true, fillPattern: 0x1122_3344 });
      const other = isShared ? JitAllocator.attach(allocator.share()) : allocator;
      const spans = Array.from({ length: 100 }, () => allocator.alloc(2000));
      const [first] = spans;
      for (const span of spans.slice(1)) span.release();
      allocator.trim();
      assert.ok(allocator.statistics().residentSize < 20 * pageSize);
      for (let count = 0; count < 100; count++) {
        const words = new Uint32Array(other.alloc(2000).read().buffer);
        assert.ok(words.every((word) => word === 0x1122_3344));
      }
      assert.equal(first?.isReleased, false);
    });
  }

  test("comes unasked, when a block falls below a quarter of use, and again with each quarter of that", () => {
    const random = new Random(SEED);
    using allocator = new JitAllocator();
    const all = Array.from({ length: 40_000 }, () => {
      const span = allocator.alloc(400);
      span.write(0, someBytes(400));
      return span;
    });
    const full = allocator.statistics().residentSize;
    random.shuffle(all);
    const live = all.splice(0, 40);
    for (const span of all) span.release();
    const { residentSize } = allocator.statistics();
    assert.ok(residentSize < full / 8, `${residentSize} of ${full}`);
    for (const span of live) assert.deepEqual(span.read(0, 400), someBytes(400));
    allocator.verify();
  });

  test("comes unasked, when a block goes empty", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(2 * MiB);
    span.write(0, new Uint8Array(span.size).fill(1));
    span.release();
    assert.equal(allocator.statistics().blockCount, 1);
    assert.equal(allocator.statistics().residentSize, 0);
  });

  test("comes unasked ever more seldom where the memory is used again each time", () => {
    using allocator = new JitAllocator();
    let count = 0;
    for (let round = 0; round < 200; round++) {
      const span = allocator.alloc(MiB);
      span.write(0, new Uint8Array(span.size).fill(round));
      span.release();
      if (allocator.statistics().residentSize === 0) count++;
    }
    assert.ok(count >= 5 && count <= 20, `${count} of 200`);
  });

  test("without a range nothing comes back, and the pages are not told", () => {
    using allocator = new JitAllocator({ useRange: false });
    for (const span of Array.from({ length: 100 }, () => allocator.alloc(4000))) span.release();
    assert.equal(allocator.trim(), 0);
    const { residentSize, reservedSize } = allocator.statistics();
    assert.equal(residentSize, reservedSize);
  });

  test("own writes through rw count once the library has written to the block or read from it; trim gives their pages back anyway", () => {
    using allocator = new JitAllocator({ disableInitialPadding: true });
    const [first, second] = [allocator.alloc(8 * pageSize), allocator.alloc(4 * pageSize)];
    for (const page of [0, 1, 2]) store(first.rw + page * pageSize, Uint8Array.of(7));
    assert.equal(allocator.statistics().residentSize, 0, "what the docstring says");
    second.read(0, 1);
    const counted = allocator.statistics().residentSize;
    assert.ok(counted >= 3 * pageSize && counted <= 4 * pageSize, `${counted}`);

    using other = new JitAllocator({ disableInitialPadding: true });
    const third = other.alloc(8 * pageSize);
    store(third.rw, Uint8Array.of(7));
    store(third.rw + 5 * pageSize, Uint8Array.of(7));
    other.alloc(64);
    third.release();
    assert.equal(other.trim(), 2 * pageSize);
    assert.equal(other.trim(), 0);
  });

  test("own writes count in every block of a shared allocator", () => {
    using allocator = new JitAllocator({ disableInitialPadding: true });
    allocator.share();
    const span = allocator.alloc(8 * pageSize);
    assert.equal(allocator.statistics().residentSize, 0);
    store(span.rw + 3 * pageSize, Uint8Array.of(7));
    assert.equal(allocator.statistics().residentSize, pageSize);
  });

  test("after the disposal: ERR_DISPOSED", () => {
    const allocator = new JitAllocator();
    allocator.dispose();
    throwsJitError("ERR_DISPOSED", () => allocator.trim());
  });
});
