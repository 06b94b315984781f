/** The shared buffer's chunks against a model: who holds which unit, and what is written there. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Arena } from "../../src/core/arena.ts";
import { Bins, Header, Link, Pools, Size, Unit } from "../../src/core/layout.ts";
import { Random } from "../support/random.ts";

const SEED = 20260403;
/** As plain numbers, which can be compared with others. */
const BIN_COUNT: number = Bins.count;
const UNIT_INTEGERS: number = Unit.integers;
/** Not a whole number of units: the first unit begins after it. */
const FIXED_INTEGERS = Pools.start + 10;
const FIRST_UNIT = Math.ceil(FIXED_INTEGERS / Unit.integers);

interface Chunk {
  readonly index: number;
  readonly unitCount: number;
  readonly isBlock: boolean;
  /** Written to all of it. */
  readonly mark: number;
}

/** An arena, and what a naive list of its chunks says of it. */
class ArenaModel {
  readonly arena: Arena;
  readonly chunks: Chunk[] = [];
  #mark = 0;

  constructor(maxUnits: number) {
    this.arena = new Arena(FIXED_INTEGERS, maxUnits * Unit.integers);
  }

  word(index: number): number {
    return this.arena.words[index] ?? Number.NaN;
  }

  /** Takes a chunk and marks all of it; false where the arena refuses, which must then be as it was. */
  take(unitCount: number, isBlock: boolean): boolean {
    const before = this.arena.words.slice();
    const index = this.arena.take(unitCount, isBlock);
    if (index === 0) {
      assert.deepEqual(this.arena.words, before, "a refusal changes nothing");
      return false;
    }
    assert.equal(index % Unit.integers, 0);
    const end = index + unitCount * Unit.integers;
    assert.ok(end <= this.arena.words.length, "the chunk lies in the buffer");
    assert.ok(
      this.arena.words.subarray(index, end).every((word) => word === 0),
      "a chunk is zeroed",
    );
    this.#mark += 1;
    this.arena.words.fill(this.#mark, index, end);
    this.chunks.push({ index, unitCount, isBlock, mark: this.#mark });
    return true;
  }

  /** As {@link take}, for units that were promised. */
  takePromised(unitCount: number): void {
    const views = this.arena.words;
    const index = this.arena.takePromised(unitCount);
    assert.notEqual(index, 0);
    assert.equal(this.arena.words, views, "the views stay");
    this.#mark += 1;
    this.arena.words.fill(this.#mark, index, index + unitCount * Unit.integers);
    this.chunks.push({ index, unitCount, isBlock: false, mark: this.#mark });
  }

  give(position: number): void {
    const [chunk] = this.chunks.splice(position, 1);
    assert.ok(chunk !== undefined);
    this.checkMarks(chunk);
    this.arena.give(chunk.index, chunk.unitCount);
  }

  checkMarks({ index, unitCount, mark }: Chunk): void {
    const words = this.arena.words.subarray(index, index + unitCount * Unit.integers);
    assert.ok(
      words.every((word) => word === mark),
      `chunk ${mark} was written over`,
    );
  }

  /** Every unit has one owner and the table says which; free neighbours are joined; each is in the ring of its length. */
  check(): void {
    const unitCount = this.word(Header.unitCount);
    const owners = this.word(Header.owners);
    const capacity = this.word(Header.ownersCapacity);
    assert.ok(unitCount <= capacity, "the owner table has room for every unit");
    assert.ok(unitCount << Unit.shift <= this.arena.words.length, "every unit lies in the buffer");
    const expected = new Array<number | undefined>(unitCount);
    expected.fill(0, 0, FIRST_UNIT);
    const claim = (index: number, count: number, owner: number): void => {
      for (let unit = index >> Unit.shift; unit < (index >> Unit.shift) + count; unit++) {
        assert.equal(expected[unit], undefined, `unit ${unit} has two owners`);
        expected[unit] = owner;
      }
    };
    claim(owners, capacity >> Unit.shift, 0);
    for (const { index, unitCount: count, isBlock } of this.chunks) claim(index, count, isBlock ? index : 0);
    const free = new Map<number, number>();
    for (let unit = FIRST_UNIT; unit < unitCount;) {
      const start = unit;
      while (unit < unitCount && expected[unit] === undefined) unit++;
      const count = unit - start;
      if (count === 0) {
        unit += 1;
        continue;
      }
      free.set(start, count);
      expected.fill(0, start, unit);
      expected[start] = -count;
      expected[unit - 1] = -count;
    }
    for (let unit = FIRST_UNIT; unit < unitCount; unit++) {
      if (this.word(owners + unit) !== expected[unit]) {
        assert.equal(this.word(owners + unit), expected[unit], `the owner of unit ${unit}`);
      }
    }
    for (let bin = 0; bin < BIN_COUNT; bin++) {
      const sentinel = Bins.start + bin * Size.node;
      let before = sentinel;
      for (
        let node = this.word(sentinel + Link.next);
        node !== sentinel;
        node = this.word(node + Link.next)
      ) {
        assert.equal(this.word(node + Link.prev), before, "the ring is linked both ways");
        const count = free.get(node >> Unit.shift);
        assert.ok(count !== undefined, `${node} is in a ring and not free`);
        assert.equal(Math.floor(Math.log2(count)), bin, `${count} units in bin ${bin}`);
        free.delete(node >> Unit.shift);
        before = node;
      }
    }
    assert.deepEqual([...free], [], "every free chunk is in a ring");
  }
}

describe("the arena", () => {
  test(`random chunks taken and given back (seed ${SEED})`, () => {
    const random = new Random(SEED);
    const model = new ArenaModel(2500);
    let taken = 0;
    let given = 0;
    for (let step = 0; step < 5000; step++) {
      const grows = Math.floor(step / 400) % 2 === 0;
      if (model.chunks.length === 0 || random.chance(grows ? 0.7 : 0.3)) {
        // Mostly small ones, as blocks have, and now and then one that needs the buffer to grow.
        const unitCount = random.chance(0.02) ? random.between(100, 300) : random.between(1, 20);
        if (model.take(unitCount, random.chance(0.5))) taken++;
      } else {
        model.give(random.below(model.chunks.length));
        given++;
      }
      if (step % 10 === 0) model.check();
    }
    for (const chunk of model.chunks) model.checkMarks(chunk);
    model.check();
    assert.ok(taken > 1500 && given > 1500, `${taken} taken, ${given} given`);
    assert.ok(model.word(Header.ownersCapacity) > UNIT_INTEGERS, "the owner table has moved");
  });

  for (const order of ["in order", "in reverse", "every other one first"] as const) {
    test(`what was given back ${order} is one piece again`, () => {
      const model = new ArenaModel(1000);
      // The owner table moves when it is full; what it leaves behind is no part of this.
      while (model.word(Header.ownersCapacity) - model.word(Header.unitCount) < 60) model.take(1, false);
      const others = model.chunks.length;
      for (let index = 0; index < 20; index++) model.take(3, true);
      const end = model.word(Header.unitCount);
      const marks = model.chunks.slice(others).map(({ mark }) => mark);
      if (order === "in reverse") marks.reverse();
      if (order === "every other one first") marks.sort((a, b) => (a % 2) - (b % 2) || a - b);
      for (const mark of marks) {
        model.give(model.chunks.findIndex((chunk) => chunk.mark === mark));
        model.check();
      }
      assert.ok(model.take(24, true));
      assert.equal(model.word(Header.unitCount), end, "the buffer was not needed to grow");
      model.check();
    });
  }

  test(`what is promised can be taken, whatever is taken in between (seed ${SEED})`, () => {
    const random = new Random(SEED);
    const model = new ArenaModel(1500);
    const promises: number[] = [];
    let refused = 0;
    for (let step = 0; step < 4000; step++) {
      const kind = random.below(6);
      const unitCount = random.between(1, 40);
      if (kind === 0) {
        const before = model.arena.words.slice();
        if (model.arena.promise(unitCount)) promises.push(unitCount);
        else {
          refused++;
          assert.deepEqual(model.arena.words, before, "a refusal changes nothing");
        }
      } else if (kind === 1) {
        const promised = promises.pop();
        if (promised !== undefined) model.takePromised(promised);
      } else if (kind === 2 && promises.length > 20) {
        model.arena.unpromise(promises.pop() ?? 0);
      } else if (kind < 5 || model.chunks.length === 0) {
        model.take(unitCount, random.chance(0.5));
      } else {
        for (let count = 0; count < 3 && model.chunks.length > 0; count++) {
          model.give(random.below(model.chunks.length));
        }
      }
      assert.equal(
        model.word(Header.promised),
        promises.reduce((sum, count) => sum + count, 0),
      );
      if (step % 20 === 0) model.check();
    }
    while (promises.length > 0) model.takePromised(promises.pop() ?? 0);
    model.check();
    assert.ok(refused > 20, `${refused} promises were refused`);
  });

  test("at its bound it refuses, changes nothing, and serves again what is given back", () => {
    const model = new ArenaModel(200);
    let count = 0;
    while (model.take(7, true)) assert.ok(++count < 200);
    assert.ok(count > 20, `${count} chunks of 7 units in 200`);
    assert.ok(!model.take(100, false));
    model.check();
    model.give(3);
    assert.ok(model.take(7, false));
    model.check();
  });

  test("a system that commits no more memory is a refusal", (context) => {
    const model = new ArenaModel(1000);
    model.take(1, true);
    const grow = context.mock.method(model.arena.buffer, "grow", () => {
      throw new RangeError("no memory");
    });
    assert.ok(!model.take(400, true));
    assert.equal(grow.mock.callCount(), 1);
    model.check();
    grow.mock.restore();
    assert.ok(model.take(400, true));
    model.check();
  });
});
