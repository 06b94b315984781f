/**
 * Each operation of a shared allocator, ended after each of its writes to shared memory and before and after each call
 * of the system: whatever the moment, the next thread finds an allocator in which the operation has happened or has
 * not, and in which everything else is as it was.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { describeOptions } from "../../support/config.ts";
import { CONFIGURATIONS, everyMoment, everyRepair, OPERATIONS } from "../../support/deaths.ts";

describe("a thread that ends after any write leaves an allocator that goes on", () => {
  for (const options of CONFIGURATIONS) {
    describe(describeOptions(options), () => {
      for (const operation of OPERATIONS) {
        // An allocator that seals its blocks has code alone.
        if (options.sealed === true && operation.needsKinds === true) continue;
        test(operation.name, () => {
          const { done, undone } = everyMoment(options, operation);
          assert.ok(done + undone > 0, "it has a moment to die at");
        });
      }
    });
  }
});

/** The operations that map or unmap blocks. */
const MAPPING: ReadonlySet<string> = new Set([
  "alloc in a new block",
  "release of the last in a block, which is unmapped",
  "hard reset",
  "dispose",
]);

describe("a thread that ends while it repairs leaves the repair to the next", () => {
  for (const operation of OPERATIONS) {
    if (operation.needsNumbers === true) continue;
    test(operation.name, () => assert.ok(everyRepair(operation) > 10));
    test(`${operation.name}, in a range`, () => {
      assert.ok(everyRepair({ ...operation, options: { ...operation.options, useRange: true } }) > 10);
    });
    // Sealing changes what maps and unmaps blocks, and nothing else.
    if (!MAPPING.has(operation.name)) continue;
    test(`${operation.name}, in a sealed range`, () => {
      const options = { ...operation.options, useRange: true, sealed: true };
      assert.ok(everyRepair({ ...operation, options }) > 10);
    });
  }
});
