/** Every operation on words against a naive one that looks at a string of ones and zeros. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  bitRange,
  bitsFrom,
  bitsUpTo,
  countOnes,
  leadingOnes,
  lowBits,
  lowestBit,
  trailingOnes,
} from "../../src/core/bits.ts";
import { Random } from "../support/random.ts";

const SEED = 20260401;
const RANDOM_WORDS = 10_000;

/** The bits as a string, bit 0 first. */
function bitsOf(word: number): string {
  return (word >>> 0).toString(2).padStart(32, "0").split("").reverse().join("");
}

/**
 * Every word that is one run of ones or one run of zeros (all edges lie there), all words of few bits at either end,
 * and random ones: sparse, even and dense.
 */
function* words(): Generator<number> {
  yield 0;
  for (let start = 0; start < 32; start++) {
    for (let count = 1; start + count <= 32; count++) {
      const run = Number.parseInt("1".repeat(count) + "0".repeat(start), 2);
      yield run | 0;
      yield ~run;
    }
  }
  for (let low = 0; low < 1 << 12; low++) {
    yield low;
    yield low << 20;
    yield low | (low << 20);
    yield ~low;
  }
  const random = new Random(SEED);
  for (let index = 0; index < RANDOM_WORDS; index++) {
    yield (random.next() & random.next() & random.next()) | 0;
    yield random.next() | 0;
    yield random.next() | random.next() | random.next() | 0;
  }
}

const cases = [...new Set(words())].map((word) => ({ word, bits: bitsOf(word) }));

/** Compares over all words; a failure says which word it was. */
function agrees(actual: (word: number) => number, naive: (bits: string) => number, skipZero = false): void {
  for (const { word, bits } of cases) {
    if (skipZero && word === 0) continue;
    const found = actual(word);
    const expected = naive(bits);
    if (found !== expected) assert.equal(found, expected, `0x${(word >>> 0).toString(16)} (seed ${SEED})`);
  }
}

describe("operations on words", () => {
  test("lowBits, for every count", () => {
    for (let count = 0; count < 32; count++) {
      assert.equal(bitsOf(lowBits(count)), "1".repeat(count).padEnd(32, "0"));
    }
  });

  test("bitRange, for every start and count", () => {
    for (let start = 0; start < 32; start++) {
      for (let count = 1; start + count <= 32; count++) {
        const expected = ("0".repeat(start) + "1".repeat(count)).padEnd(32, "0");
        assert.equal(bitsOf(bitRange(start, count)), expected, `${start}, ${count}`);
      }
    }
  });

  test("lowestBit", () => agrees(lowestBit, (bits) => bits.indexOf("1"), true));
  test("trailingOnes", () => agrees(trailingOnes, (bits) => `${bits}0`.indexOf("0")));
  test("leadingOnes", () => agrees(leadingOnes, (bits) => 31 - bits.lastIndexOf("0")));
  test("countOnes", () => agrees(countOnes, (bits) => bits.replaceAll("0", "").length));

  test("bitsFrom and bitsUpTo, from and up to every bit", () => {
    let neighbour = 0x2545_f491 | 0;
    for (const word of words()) {
      const bits = bitsOf(word);
      const others = bitsOf(neighbour);
      for (let bit = 0; bit < 32; bit++) {
        assert.equal(bitsOf(bitsFrom(word, neighbour, bit)), (bits + others).slice(bit, bit + 32));
        assert.equal(bitsOf(bitsUpTo(word, neighbour, bit)), (others + bits).slice(bit + 1, bit + 33));
      }
      neighbour = Math.imul(neighbour, 0x41c6_4e6d) + word;
    }
  });
});
