/** query. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { refuses, wrong } from "../../support/expectations.ts";
import { row, someBytes } from "../../support/rows.ts";

describe("query", () => {
  row(
    "query of any address of an allocation: the whole allocation that contains it",
    {},
    ({ allocator, options }) => {
      const spans = [1, 2, 3, 4, 17, 64].map((units) => allocator.alloc(units * options.granularity));
      for (const span of spans) {
        for (const offset of [0, 1, options.granularity - 1, span.size >> 1, span.size - 1]) {
          const found = allocator.query(span.rx + offset);
          assert.deepEqual([found.rx, found.rw, found.size], [span.rx, span.rw, span.size], `+${offset}`);
          assert.equal(found.isReleased, false);
        }
      }
      assert.equal(allocator.statistics().allocationCount, spans.length, "a query counts as nothing");
    },
  );

  row("a span that a query gave is as good as the one alloc gave", {}, ({ allocator }) => {
    allocator.alloc(100);
    const address = allocator.allocAddress(100);
    const span = allocator.query(address);
    span.write(3, someBytes(5));
    assert.deepEqual(allocator.query(address + 60).read(3, 5), someBytes(5));
    span.release();
    refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.query(address));
    refuses(allocator, "ERR_RELEASED", () => span.release());
  });

  row("query of free or padding: ERR_NOT_ALLOCATED", {}, ({ allocator, options }) => {
    const kept = allocator.alloc(options.granularity);
    const gone = allocator.alloc(options.granularity);
    gone.release();
    refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.query(gone.rx), "released");
    const [block] = allocator.blocks();
    assert.ok(block);
    refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.query(block.rx + block.size - 1), "never used");
    if (!options.disableInitialPadding)
      refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.query(block.rx), "padding");
    assert.equal(allocator.query(kept.rx).rx, kept.rx);
  });

  row("query of unknown, rw: ERR_UNKNOWN_ADDRESS", {}, ({ allocator, options }) => {
    refuses(
      allocator,
      "ERR_UNKNOWN_ADDRESS",
      () => allocator.query(0x1000),
      "in an allocator without blocks",
    );
    const span = allocator.alloc(64);
    const [block] = allocator.blocks();
    assert.ok(block);
    for (const address of [0, 1, block.rx - 1, block.rx + block.size, Number.MAX_SAFE_INTEGER]) {
      refuses(allocator, "ERR_UNKNOWN_ADDRESS", () => allocator.query(address), String(address));
    }
    if (options.useDualMapping)
      refuses(allocator, "ERR_UNKNOWN_ADDRESS", () => allocator.query(span.rw), "rw");
  });

  row("query of what is no address: ERR_INVALID_ARGUMENT", {}, ({ allocator }) => {
    allocator.alloc(64);
    for (const address of [null, undefined, NaN, -1, 0.5, Infinity, 2 ** 53, "0x1000", {}, 64n, true]) {
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.query(wrong(address)), String(address));
    }
  });
});
