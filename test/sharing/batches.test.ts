/** The batches of generations, on a buffer of their own: whose they are, and when one is given again. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { batchOf, isLastOfBatch } from "../../src/sharing/batches.ts";
import { Batches, Field, Given, Members } from "../../src/sharing/layout.ts";
import { SharedState } from "../../src/sharing/shared-state.ts";

const SIGN = -0x8000_0000;
const SIZE = 2 ** Batches.shift;

/** A generation by its batch and its place there. */
const generation = (batch: number, place: number): number => (batch * SIZE + place) | SIGN;

const neverAsked = (): never => assert.fail("no batch can be in use yet");
const nothingLive = (): Uint8Array => new Uint8Array(Batches.count);

/** The batch that a member takes; -1 where there is none. */
function taken({ batches }: SharedState, member: number, findUsed: () => Uint8Array): number {
  const before = batches.take(member, findUsed);
  return before === undefined ? -1 : batchOf(before + 1);
}

describe("the batches of generations", () => {
  test("tell who allocated, and skip what is in use when all were given once", () => {
    const { batches, words } = SharedState.create(1);
    const before = generation(1, 904); // from before there was a second thread
    batches.claim(1, before, []);
    assert.equal(batches.ownerOf(before), 1);
    const second = batches.take(2, neverAsked);
    assert.ok(second !== undefined);
    const next = (second + 1) | SIGN;
    assert.ok(isLastOfBatch(second) && !isLastOfBatch(next));
    assert.deepEqual([batches.ownerOf(next), batches.ownerOf(before)], [2, 1]);
    words[Field.nextBatch] = Batches.count;
    let walks = 0;
    const used = nothingLive().fill(1, 0, 4);
    const look = (): Uint8Array => {
      walks += 1;
      return used.slice();
    };
    const again = batches.take(3, look);
    assert.ok(again !== undefined);
    assert.equal(batchOf(again + 1), 4);
    assert.deepEqual([batches.ownerOf(again + 1), batches.ownerOf(next)], [3, 2]);
    used.fill(1);
    used[2] = 0;
    for (const member of [4, 5, 6]) {
      assert.equal(batchOf((batches.take(member, look) ?? 0) + 1), 2, "from the last one on and round");
      assert.equal(batches.ownerOf(2 << Batches.shift), member);
    }
    assert.equal(walks, 4);
    used.fill(1);
    assert.equal(batches.take(7, look), undefined);
    used[Batches.count - 1] = 0;
    for (const member of [7, 8]) {
      assert.equal(batchOf((batches.take(member, look) ?? 0) + 1), Batches.count - 1);
    }
  });

  test("the first generation of all is given to nobody: it tells of what is released", () => {
    const { batches, words } = SharedState.create(1);
    words[Field.nextBatch] = Batches.count;
    assert.equal(batches.take(1, nothingLive), 0);
  });

  test("one that a member has begun is nobody else's, though nothing of it is live; one used up may be", () => {
    const state = SharedState.create(1);
    const { batches, words } = state;
    for (const member of [1, 2, 3]) assert.equal(taken(state, member, neverAsked), member - 1);
    batches.noteNext(1, generation(0, 0));
    batches.noteNext(2, generation(1, SIZE - 3)); // one is left
    batches.noteNext(3, generation(2, SIZE - 2)); // none is
    words[Field.nextBatch] = Batches.count;
    assert.equal(taken(state, 4, nothingLive), 2);
    words[Field.nextBatch] = Batches.count;
    assert.equal(
      taken(state, 4, () => nothingLive().fill(1, 3)),
      2,
    );
    assert.equal(
      taken(state, 4, () => nothingLive().fill(1, 2)),
      -1,
    );
  });

  test("come round when all others that are not in use were taken: so long a token is told from all others", () => {
    const state = SharedState.create(1);
    for (let member = 1; member < Members.count; member++) {
      // Each of them goes on with it some day.
      state.batches.noteNext(member, generation(taken(state, member, neverAsked), 0));
    }
    // Something is live of nearly all: a round of a thousand takes as many steps as the whole would.
    const free = 2000;
    const live = Batches.count - free;
    const used = nothingLive().fill(1, free);
    state.words[Field.nextBatch] = Batches.count;
    const first = taken(state, 1, () => used.slice()); // of it is the token
    let others = 0;
    while (taken(state, 1, () => used.slice()) !== first) others += 1;
    assert.equal(others + 1, Batches.count - (Members.count - 1) - live);
    // What docs/guarantees.md says of it: 2**31 - 2**22 allocations, and 4,096 less for each that is live.
    assert.ok((others + 1) * SIZE >= 2 ** 31 - 2 ** 22 - live * SIZE);
  });

  test("one that a member has begun is gone on with under its number, unless it is another's, or used up", () => {
    const state = SharedState.create(1);
    const { batches } = state;
    assert.equal(batches.resume(1), 0);
    const batch = taken(state, 1, neverAsked);
    assert.equal(batches.resume(1), 0, "it died before it gave one");
    batches.noteNext(1, generation(batch, 76));
    assert.equal(batches.resume(1), generation(batch, 77));
    batches.handOver(batch, 2);
    assert.equal(batches.resume(1), 0);
    assert.equal(batches.resume(2), 0);
    batches.handOver(batch, 1);
    batches.noteNext(1, generation(batch, SIZE - 2));
    assert.equal(batches.resume(1), 0);
  });

  test("what was given before the sharing is its maker's, also where all generations were given once", () => {
    for (const [last, live, resumed, next] of [
      [generation(3, 10), [generation(0, 9), generation(3, 10)], generation(3, 10), 4],
      [generation(3, SIZE - 1), [], 0, 4],
      [generation(3, 10), [generation(3, 11)], 0, 4 + Batches.count],
      [generation(3, 10), [generation(700, 11), generation(2, 1)], 0, 4 + Batches.count],
      [0, [], SIGN, 1],
    ] as const) {
      const { batches, words } = SharedState.create(1);
      batches.claim(1, last, live);
      for (const each of [last, ...live]) assert.equal(batches.ownerOf(each), 1);
      assert.equal(batches.resume(1), resumed);
      assert.equal(words[Field.nextBatch], next);
    }
  });

  test("what cannot be is told by the number of its invariant", () => {
    for (const next of [-1, 2 * Batches.count + 1]) {
      const { batches, words } = SharedState.create(1);
      words[Field.nextBatch] = next;
      assert.throws(() => batches.take(1, nothingLive), /invariant 18 is broken/);
    }
    const { batches, words } = SharedState.create(1);
    batches.claim(1, generation(3, 10), []);
    batches.verify([generation(0, 0), generation(3, 10)]);
    assert.throws(() => batches.verify([generation(3, 11)]), /invariant 18 .* still to be given/);
    assert.throws(() => batches.verify([generation(4, 0)]), /invariant 18 .* nobody took/);
    words[Given.start + 2] = generation(3, 5);
    assert.throws(() => batches.verify([]), /invariant 18 .* same batch/);
    words[Given.start + 2] = 0;
    batches.handOver(2, Members.count);
    assert.throws(() => batches.verify([generation(2, 0)]), /invariant 18 .* nobody's/);
  });
});
