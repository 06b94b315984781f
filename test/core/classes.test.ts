/** The classes of free runs. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Classes } from "../../src/core/layout.ts";
import { classOfRun, classThatHolds } from "../../src/core/classes.ts";

/** The longest run there can be: 2 GiB of granules of 64 bytes. */
const LONGEST = 2 ** 25;

/** Every length up to 4096; above, both sides of every place where a class can begin (a sixteenth of an octave). */
function* lengths(): Generator<number> {
  for (let length = 1; length <= 4096; length++) yield length;
  for (let octave = 4096; octave < LONGEST; octave *= 2) {
    for (let sixteenth = 16; sixteenth < 32; sixteenth++) {
      const edge = (octave / 16) * sixteenth;
      for (const length of [edge - 1, edge, edge + 1]) if (length > 4096) yield length;
    }
  }
  yield LONGEST;
}

/** The shortest run of each class, as found among all lengths. */
const shortest = new Map<number, number>();
for (const length of lengths()) {
  const runClass = classOfRun(length);
  if (!shortest.has(runClass)) shortest.set(runClass, length);
}

describe("the classes of free runs", () => {
  test("a longer run is never of a lower class, and no class is left out", () => {
    let last = -1;
    for (const length of lengths()) {
      const runClass = classOfRun(length);
      assert.ok(runClass === last || runClass === last + 1, `${length}: class ${runClass} after ${last}`);
      last = runClass;
    }
    const ringCount: number = Classes.count;
    assert.ok(last < ringCount, `class ${last} of the longest run has a ring`);
  });

  test("up to 32 granules each length has a class of its own", () => {
    for (let length = 1; length <= 32; length++) {
      assert.equal(shortest.get(classOfRun(length)), length);
      assert.equal(classThatHolds(length), classOfRun(length));
    }
  });

  test("above, a class begins at most an eighth above the one before", () => {
    for (const [runClass, length] of shortest) {
      const next = shortest.get(runClass + 1);
      if (length >= 32 && next !== undefined) assert.ok(next <= length * 1.125, `class ${runClass}`);
    }
  });

  test("the last class has all runs from 8 MiB of 64 B on, so nothing surely holds a longer request", () => {
    const lastClass: number = Classes.count - 1;
    assert.equal(shortest.get(lastClass), 131_072);
    assert.equal(classThatHolds(131_072), lastClass);
    assert.equal(classThatHolds(131_073), lastClass + 1);
    assert.equal(classThatHolds(LONGEST), lastClass + 1);
  });

  test("every run of the class that holds a length, and of all above, is at least that long", () => {
    for (const length of lengths()) {
      // The last class has runs that are too short for the longest requests; those have nothing that surely holds them.
      const least = shortest.get(classThatHolds(length)) ?? Infinity;
      assert.ok(least >= length, `${length}: its class begins at ${least}`);
    }
  });

  test("it is the first such class: the one below has runs that are too short", () => {
    for (const length of lengths()) {
      const below = shortest.get(classThatHolds(length) - 1);
      if (below !== undefined) assert.ok(below < length, `${length}: class of ${below} would do`);
    }
  });
});
