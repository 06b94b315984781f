/** How far a run of free words goes, whatever of it is known already: beside a look at each word. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { addBlock } from "../../src/core/run-index.ts";
import { Core } from "../../src/core/core.ts";
import { clearIfFull, firstNotFull, lastNotFull, noteFullWords } from "../../src/core/full-words.ts";
import { Block } from "../../src/core/layout.ts";
import { Random } from "../support/random.ts";

const WORDS = 4096;
const GRANULE_BYTES = 64;

/** A block of so many words of granules, all of them in use. */
class Subject {
  readonly words: Int32Array;
  readonly block: number;

  constructor() {
    const core = new Core({
      granularity: GRANULE_BYTES,
      poolsPerKind: 1,
      padding: false,
      immediateRelease: false,
      blockSize: WORDS * 32 * GRANULE_BYTES,
      maxReservedSize: 2 ** 31,
    });
    this.block = addBlock(core, 0, 2 ** 40, 2 ** 40, WORDS * 32 * GRANULE_BYTES);
    this.words = core.words;
  }

  free(word: number): void {
    this.words[this.#record(word)] = -1;
  }

  /** Takes a granule of it. */
  take(word: number): void {
    this.words[this.#record(word)] = ~(1 << (word & 31));
    clearIfFull(this.words, this.block, word);
  }

  isFree(word: number): boolean {
    return word >= 0 && word < WORDS && this.words[this.#record(word)] === -1;
  }

  isKnown(word: number): boolean {
    const { words, block } = this;
    return (((words[(words[block + Block.full] ?? 0) + (word >>> 5)] ?? 0) >>> (word & 31)) & 1) !== 0;
  }

  /** From `word` up and down, by the bits and one by one. */
  check(word: number): void {
    let end = word;
    while (this.isFree(end)) end++;
    assert.equal(firstNotFull(this.words, this.block, word), end, `up from ${word}`);
    let start = word;
    while (this.isFree(start)) start--;
    assert.equal(lastNotFull(this.words, this.block, word), start, `down from ${word}`);
  }

  checkBits(): void {
    for (let word = 0; word < WORDS; word++) {
      assert.ok(this.isFree(word) || !this.isKnown(word), `word ${word} is said to be free`);
    }
  }

  #record(word: number): number {
    return (this.words[this.block + Block.records] ?? 0) + (word << 1);
  }
}

describe("words that are free all over", () => {
  test("a long run is measured from wherever it is begun, up to the ends of the block", () => {
    const subject = new Subject();
    for (let word = 0; word < WORDS; word++) subject.free(word);
    for (const word of [0, 1, 7, 8, 9, 31, 32, 1000, 1023, 1024, WORDS - 9, WORDS - 1]) subject.check(word);
    assert.equal(firstNotFull(subject.words, subject.block, WORDS), WORDS, "behind the last");
    assert.equal(lastNotFull(subject.words, subject.block, -1), -1, "before the first");
    subject.checkBits();
  });

  test("who measures it sets the bits of what is not near, and short runs set none", () => {
    const subject = new Subject();
    for (let word = 100; word < 300; word++) subject.free(word);
    for (let word = 500; word < 508; word++) subject.free(word);
    subject.check(100);
    assert.ok(!subject.isKnown(107));
    for (let word = 108; word < 300; word++) assert.ok(subject.isKnown(word), `word ${word}`);
    subject.check(500);
    subject.check(507);
    for (let word = 500; word < 508; word++) assert.ok(!subject.isKnown(word), `word ${word}`);
  });

  test("what is taken out of the middle ends the run there", () => {
    const subject = new Subject();
    for (let word = 0; word < WORDS; word++) subject.free(word);
    subject.check(0);
    subject.take(2000);
    for (const word of [0, 1990, 1999, 2000, 2001, 2010, WORDS - 1]) subject.check(word);
    subject.checkBits();
  });

  test("so it is for any runs, and whichever bits are set", () => {
    const random = new Random(20_261_125);
    const subject = new Subject();
    for (let round = 0; round < 2000; round++) {
      const start = random.below(WORDS);
      const end = Math.min(WORDS, start + 1 + random.below(random.below(4) === 0 ? 1500 : 20));
      const isFreed = random.below(3) !== 0;
      for (let word = start; word < end; word++) {
        if (isFreed) subject.free(word);
        else if (random.below(4) === 0) subject.take(word);
      }
      // As a release does that leaves the run to others.
      if (isFreed && random.below(2) === 0) {
        noteFullWords(subject.words, subject.block, start << 5, (end - start) << 5);
      }
      subject.check(random.below(WORDS));
      if (round % 100 === 0) subject.checkBits();
    }
    subject.checkBits();
  });
});
