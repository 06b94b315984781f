/** When a block is to be trimmed unasked: its bounds, worked out by hand. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Block } from "../../src/core/layout.ts";
import { armTrim, disarmTrim, hasLeftBounds, moveBounds, noteEmptied } from "../../src/core/thrift.ts";

const CAPACITY = 1024;
const QUARTER = 256;

/** A block of 1,024 granules, of which some are in use. */
class Subject {
  readonly words = new Int32Array(128);

  constructor() {
    this.words[Block.capacity] = CAPACITY;
    this.words[Block.tail] = CAPACITY;
    armTrim(this.words, 0);
  }

  use(used: number): this {
    this.words[Block.freed] = CAPACITY - used;
    return this;
  }

  get hasLeft(): boolean {
    return hasLeftBounds(this.words, 0);
  }

  /** Whether a block with that use is to be trimmed now: what a release asks. */
  isDue(used: number): boolean {
    this.use(used);
    return this.hasLeft && moveBounds(this.words, 0);
  }

  get refills(): number {
    return this.words[Block.refills] ?? -1;
  }
}

describe("the bounds of a block's use", () => {
  test("before the first trim: a quarter, and no upper one", () => {
    const subject = new Subject();
    for (const used of [CAPACITY, CAPACITY / 2, QUARTER])
      assert.equal(subject.use(used).hasLeft, false, `${used}`);
    assert.equal(subject.use(QUARTER - 1).hasLeft, true);
  });

  test("after a trim: a quarter of what was in use, and a quarter of the block, which says that it was in vain", () => {
    const subject = new Subject();
    assert.equal(subject.isDue(200), true);
    for (const used of [200, 50, QUARTER - 1]) assert.equal(subject.use(used).hasLeft, false, `${used}`);
    assert.equal(subject.use(49).hasLeft, true);
    assert.equal(subject.use(QUARTER).hasLeft, true);
    assert.equal(subject.isDue(49), true);
    for (const used of [12, 49, 255]) assert.equal(subject.use(used).hasLeft, false, `${used}`);
    assert.equal(subject.isDue(11), true);
    assert.equal(subject.isDue(1), true);
    assert.equal(subject.use(0).hasLeft, false, "of nothing there is no quarter: it goes empty");
    assert.equal(subject.refills, 0);
  });

  test("a block that is filled again to a quarter was trimmed in vain: no trim, and the first bounds again", () => {
    const subject = new Subject();
    assert.equal(subject.isDue(100), true);
    assert.equal(subject.isDue(QUARTER), false);
    assert.equal(subject.refills, 1);
    assert.equal(subject.use(CAPACITY).hasLeft, false);
    assert.equal(subject.use(QUARTER - 1).hasLeft, true);
  });

  test("of trims in vain ever fewer follow: after the 1st, 2nd, 4th, 8th …, and then every 1,024th time", () => {
    const subject = new Subject();
    const due: number[] = [];
    for (let round = 0; round < 5000; round++) {
      if (subject.isDue(100)) due.push(round);
      assert.equal(subject.use(50).hasLeft, false, "between the bounds nothing is done");
      subject.isDue(CAPACITY);
    }
    assert.deepEqual(due, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3072, 4096]);
  });

  test("a block that goes empty is trimmed where a quarter of it was in use, as seldom", () => {
    const subject = new Subject();
    assert.equal(noteEmptied(subject.words, 0, QUARTER - 1), false);
    assert.equal(subject.refills, 0);
    const due = Array.from({ length: 20 }, () => noteEmptied(subject.words, 0, QUARTER));
    assert.deepEqual(
      due.flatMap((isDue, round) => (isDue ? [round] : [])),
      [0, 1, 2, 4, 8, 16],
    );
  });

  test("a block that cannot be trimmed never leaves them", () => {
    const subject = new Subject();
    disarmTrim(subject.words, 0);
    for (const used of [0, 1, QUARTER, CAPACITY]) assert.equal(subject.use(used).hasLeft, false, `${used}`);
  });
});
