/** The index of free runs, on a core that has no memory: what it enters at once, what it leaves for later, what it drops. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { planBlock } from "../../src/core/plan.ts";
import { addBlock, removeBlock } from "../../src/core/run-index.ts";
import { Core } from "../../src/core/core.ts";
import { Status } from "../../src/core/status.ts";
import { verifyStructure } from "../../src/core/verify.ts";
import { Random } from "../support/random.ts";

const GRANULE_BYTES = 64;
const BLOCK_BYTES = 256 * 1024;

/** A core and the blocks it thinks it has. */
class Subject {
  readonly core = new Core({
    granularity: GRANULE_BYTES,
    poolsPerKind: 1,
    padding: false,
    immediateRelease: false,
    blockSize: BLOCK_BYTES,
    maxReservedSize: 2 ** 33,
  });
  #nextAddress = 2 ** 40;

  /** Allocates so many granules, in a new block where no other has room. */
  alloc(count: number): number {
    if (!this.core.alloc(0, count)) {
      const bytes = planBlock(this.core, 0, count, false);
      addBlock(this.core, 0, this.#nextAddress, this.#nextAddress, bytes);
      this.#nextAddress += 2 * bytes;
      assert.ok(this.core.alloc(0, count));
    }
    return this.core.addressOf(this.core.block, this.core.granule);
  }

  release(address: number): void {
    const status = this.core.release(address);
    if (status === Status.surplusBlock) removeBlock(this.core, this.core.block);
    else assert.ok(status === Status.ok || status === Status.sparse, String(status));
  }

  verify(): void {
    verifyStructure(this.core.words, this.core.doubles);
  }
}

describe("the index of free runs", () => {
  test("a small step is no larger than a natural block, whatever a pool has", () => {
    const subject = new Subject();
    for (let number = 1; number <= 4; number++) addBlock(subject.core, 0, number * 2 ** 40, 0, 2 ** 30);
    // All of the current block is free, and a thirty-second of 4 GiB is 128 MiB.
    assert.equal(planBlock(subject.core, 0, 1, false), 2 ** 26);
  });

  test("a request longer than any class has only takes a hole that holds it", () => {
    const subject = new Subject();
    // Each fills a block but for a granule.
    const short = subject.alloc(35 * 4096 - 1);
    subject.alloc(1);
    const long = subject.alloc(37 * 4096 - 1);
    subject.alloc(1);
    subject.release(long);
    subject.release(short);
    assert.notEqual(subject.alloc(37 * 4096), long);
    assert.equal(subject.alloc(37 * 4096 - 2), long);
    assert.equal(subject.alloc(35 * 4096 - 2), short);
    subject.verify();
  });

  test("finds a run that begins with a whole word, released among many", () => {
    const subject = new Subject();
    const small = Array.from({ length: 64 }, () => subject.alloc(1));
    const words = Array.from({ length: 6 }, () => subject.alloc(32));
    // More in a row than are entered at once: the words are only marked.
    for (let index = 1; index < small.length; index += 2) subject.release(small[index] ?? 0);
    for (const index of [1, 3, 4]) subject.release(words[index] ?? 0);
    subject.verify();
    assert.equal(subject.alloc(32), words[1]);
    assert.equal(subject.alloc(64), words[3]);
    subject.verify();
  });

  test("gives a run back that many releases in a row have put together, in any order", () => {
    const random = new Random(20261125);
    for (let round = 0; round < 30; round++) {
      const subject = new Subject();
      const first = subject.alloc(1);
      const pieces = Array.from({ length: 200 }, () => subject.alloc(1 + (random.next() & 7)));
      const end = subject.alloc(1);
      for (const address of random.shuffle(pieces)) subject.release(address);
      subject.verify();
      // Less than all of it: a class promises its shortest length alone.
      const count = Math.floor(((end - first) / GRANULE_BYTES) * 0.75);
      assert.equal(subject.alloc(count), first + GRANULE_BYTES, `seed 20261125, round ${round}`);
      subject.verify();
    }
  });

  test("makes its lists anew when they are full of what is no longer true, and loses no run", () => {
    const random = new Random(7);
    const subject = new Subject();
    const live = Array.from({ length: 20_000 }, () => subject.alloc(1 + (random.next() & 31)));
    const overheadBytes = subject.core.overheadBytes;
    for (let step = 0; step < 200_000; step++) {
      const index = random.below(live.length);
      subject.release(live[index] ?? 0);
      live[index] = subject.alloc(1 + (random.next() & 31));
      if (step % 20_000 === 0) subject.verify();
    }
    subject.verify();
    // 200,000 runs came and went; what is kept of them is bounded by what there can be at a time.
    assert.ok(
      subject.core.overheadBytes < overheadBytes + 1024 * 1024,
      `${subject.core.overheadBytes} bytes`,
    );
  });

  test("gives the chunks of its lists back with the last block", () => {
    const subject = new Subject();
    const live = Array.from({ length: 5_000 }, () => subject.alloc(3));
    for (let index = 0; index < live.length; index += 2) subject.release(live[index] ?? 0);
    subject.release(subject.alloc(4));
    for (let index = 1; index < live.length; index += 2) subject.release(live[index] ?? 0);
    subject.verify();
    for (let block = subject.core.firstBlock(); block !== 0; block = subject.core.firstBlock()) {
      removeBlock(subject.core, block);
    }
    subject.verify();
    assert.equal(subject.core.blockCount, 0);
  });
});
