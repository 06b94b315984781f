/** write, write callbacks, write scopes, read. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import type { CachePolicy } from "../../../src/index.ts";
import { changesNothing, refuses, throwsJitError, wrong } from "../../support/expectations.ts";
import { bytesAt, roundUp, row, rowOnRealMemory, someBytes } from "../../support/rows.ts";

const POLICIES: readonly (CachePolicy | undefined)[] = [undefined, "default", "flush", "never"];

describe("write", () => {
  rowOnRealMemory("bytes written are read back, in every policy, at every alignment", {}, ({ allocator }) => {
    const before = allocator.alloc(256);
    const span = allocator.alloc(256);
    const after = allocator.alloc(256);
    before.write(0, someBytes(256, 3));
    after.write(0, someBytes(256, 5));
    for (const policy of POLICIES) {
      for (const [offset, length] of [
        [0, 256],
        [0, 1],
        [1, 1],
        [255, 1],
        [3, 17],
        [128, 128],
        [7, 0],
        [256, 0],
      ] as const) {
        const expected = span.read();
        const bytes = someBytes(length, offset + 11);
        expected.set(bytes, offset);
        allocator.write(span, offset, bytes, policy);
        assert.deepEqual(span.read(), expected, `${String(policy)} at ${offset}, ${length} bytes`);
        span.write(offset, bytes);
        assert.deepEqual(span.read(offset, length), bytes);
      }
    }
    assert.deepEqual(before.read(), someBytes(256, 3), "the neighbour below is untouched");
    assert.deepEqual(after.read(), someBytes(256, 5), "the neighbour above is untouched");
  });

  rowOnRealMemory("the rx view sees what was written through the rw view", {}, ({ allocator, memory }) => {
    const span = allocator.alloc(4096);
    span.write(0, someBytes(4096));
    assert.deepEqual(bytesAt(memory, span.rx, span.size), someBytes(4096));
    span.write(100, Uint8Array.of(1, 2, 3));
    assert.deepEqual(bytesAt(memory, span.rx + 100, 3), Uint8Array.of(1, 2, 3));
  });

  row("a part of a larger array, and a Buffer, are written as they are", {}, ({ allocator }) => {
    const span = allocator.alloc(64);
    span.write(0, new Uint8Array([9, 1, 2, 3, 9]).subarray(1, 4));
    assert.deepEqual(span.read(0, 3), Uint8Array.of(1, 2, 3));
    span.write(0, Buffer.from([4, 5, 6]));
    assert.deepEqual(span.read(0, 3), Uint8Array.of(4, 5, 6));
  });

  row("write past the end: ERR_INVALID_ARGUMENT, nothing is written", {}, ({ allocator, options }) => {
    const span = allocator.alloc(options.granularity * 2);
    const neighbour = allocator.alloc(options.granularity * 2);
    span.write(0, someBytes(span.size));
    neighbour.write(0, someBytes(neighbour.size, 9));
    for (const [offset, length] of [
      [0, span.size + 1],
      [1, span.size],
      [span.size, 1],
      [span.size + 1, 0],
      [span.size - 1, 2],
      [2 ** 32, 1],
      [Number.MAX_SAFE_INTEGER, 1],
    ] as const) {
      const bytes = new Uint8Array(length).fill(0xee);
      refuses(
        allocator,
        "ERR_INVALID_ARGUMENT",
        () => span.write(offset, bytes),
        `at ${offset}, ${length} bytes`,
      );
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.write(span, offset, bytes));
    }
    assert.deepEqual(span.read(), someBytes(span.size));
    assert.deepEqual(neighbour.read(), someBytes(neighbour.size, 9));
  });

  row("a span is written up to its last byte, wherever its granules lie", {}, ({ allocator, options }) => {
    // Side by side, so that they begin and end at every place of the words that describe 32 granules.
    for (const count of [1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 30, 31, 32, 33, 34, 37, 63, 64, 65, 97]) {
      const span = allocator.alloc(count * options.granularity);
      span.write(0, someBytes(span.size, count));
      span.write(span.size - 1, Uint8Array.of(count));
      assert.equal(span.read(span.size - 1)[0], count);
      for (const [offset, length] of [
        [0, span.size + 1],
        [1, span.size],
        [span.size, 1],
      ] as const) {
        throwsJitError("ERR_INVALID_ARGUMENT", () => span.write(offset, new Uint8Array(length)));
      }
    }
  });

  row(
    "write of what is no offset, no bytes, no span, no policy: ERR_INVALID_ARGUMENT",
    {},
    ({ allocator }) => {
      const span = allocator.alloc(64);
      span.write(0, someBytes(span.size));
      const bytes = Uint8Array.of(0xee);
      for (const offset of [-1, 0.5, NaN, Infinity, "0", null, undefined, {}, 0n]) {
        refuses(
          allocator,
          "ERR_INVALID_ARGUMENT",
          () => span.write(wrong(offset), bytes),
          `offset ${String(offset)}`,
        );
        refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.write(span, wrong(offset), bytes));
      }
      for (const data of [
        null,
        undefined,
        1,
        "code",
        [1, 2],
        {},
        { length: 4 },
        new ArrayBuffer(4),
        new Float64Array(1),
      ]) {
        refuses(allocator, "ERR_INVALID_ARGUMENT", () => span.write(0, wrong(data)), `bytes ${String(data)}`);
        refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.write(span, 0, wrong(data)));
      }
      for (const target of [
        null,
        undefined,
        1,
        span.rx,
        "span",
        {},
        { rx: span.rx, rw: span.rw, size: 64 },
      ]) {
        refuses(
          allocator,
          "ERR_INVALID_ARGUMENT",
          () => allocator.write(wrong(target), 0, bytes),
          String(target),
        );
        refuses(
          allocator,
          "ERR_INVALID_ARGUMENT",
          () => allocator.write(wrong(target), () => undefined),
          String(target),
        );
      }
      for (const policy of ["Flush", "", 0, 1, null, true, {}]) {
        refuses(
          allocator,
          "ERR_INVALID_ARGUMENT",
          () => allocator.write(span, 0, bytes, wrong(policy)),
          String(policy),
        );
        refuses(allocator, "ERR_INVALID_ARGUMENT", () =>
          allocator.write(span, () => undefined, wrong(policy)),
        );
        refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.writeScope(wrong(policy)), String(policy));
      }
      assert.deepEqual(span.read(), someBytes(span.size));
    },
  );

  row("write after release: ERR_RELEASED", {}, ({ allocator }) => {
    const span = allocator.alloc(64);
    span.release();
    refuses(allocator, "ERR_RELEASED", () => span.write(0, someBytes(8)));
    refuses(allocator, "ERR_RELEASED", () => allocator.write(span, 0, someBytes(8)));
    refuses(allocator, "ERR_RELEASED", () =>
      allocator.write(span, () => assert.fail("the callback must not run")),
    );
    refuses(allocator, "ERR_RELEASED", () => span.read());
  });
});

describe("write callback", () => {
  rowOnRealMemory("gets a buffer of span.size bytes, copied in when it returns", {}, ({ allocator }) => {
    const span = allocator.alloc(300);
    span.write(0, new Uint8Array(span.size).fill(0xaa));
    for (const policy of POLICIES) {
      let kept: Uint8Array | undefined;
      allocator.write(
        span,
        (code) => {
          assert.equal(code.length, span.size);
          code.set(someBytes(span.size));
          assert.notDeepEqual(span.read(), someBytes(span.size), "not before it returns");
          kept = code;
        },
        policy,
      );
      assert.deepEqual(span.read(), someBytes(span.size));
      kept?.fill(0x11);
      assert.deepEqual(span.read(), someBytes(span.size), "the buffer is not the memory");
      span.write(0, new Uint8Array(span.size).fill(0xaa));
    }
    assert.equal(span.size, roundUp(300, allocator.granularity));
  });

  row("a number returned = bytes kept, the span shrinks to them", {}, ({ allocator, options }) => {
    for (const kept of [1, 63, 64, 65, options.granularity, 3 * options.granularity - 1]) {
      const size = 16 * options.granularity;
      const pool = options.useMultiplePools ? options.granularity * 4 : options.granularity;
      const span = allocator.alloc(size);
      allocator.write(span, (code) => {
        code.set(someBytes(kept));
        return kept;
      });
      assert.equal(span.size, roundUp(kept, pool), `kept ${kept}`);
      assert.deepEqual(span.read(0, kept), someBytes(kept));
      assert.equal(allocator.query(span.rx).size, span.size);
      refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.query(span.rx + span.size));
      span.release();
    }
  });

  row("the whole size returned = all kept", {}, ({ allocator }) => {
    const span = allocator.alloc(200);
    changesNothing(allocator, () =>
      allocator.write(span, (code) => {
        code.set(someBytes(code.length));
        return code.length;
      }),
    );
    assert.deepEqual(span.read(), someBytes(span.size));
  });

  row(
    "0, more than the size or no size at all returned: ERR_INVALID_ARGUMENT, nothing is written",
    {},
    ({ allocator }) => {
      const span = allocator.alloc(200);
      span.write(0, someBytes(span.size));
      for (const result of [0, span.size + 1, 2 ** 40, -1, 0.5, NaN, Infinity, "64", null, {}, true, 64n]) {
        refuses(
          allocator,
          "ERR_INVALID_ARGUMENT",
          () =>
            allocator.write(span, (code) => {
              code.fill(0xee);
              return wrong<number>(result);
            }),
          `returned ${String(result)}`,
        );
        assert.deepEqual(span.read(), someBytes(span.size));
      }
    },
  );

  row("an async callback: ERR_INVALID_ARGUMENT, nothing is written", {}, ({ allocator }) => {
    const span = allocator.alloc(64);
    span.write(0, someBytes(64));
    refuses(allocator, "ERR_INVALID_ARGUMENT", () =>
      allocator.write(
        span,
        wrong(() => Promise.resolve(8)),
      ),
    );
    assert.deepEqual(span.read(0, 64), someBytes(64));
  });

  row("if it throws, nothing is written, and the error is the caller's own", {}, ({ allocator }) => {
    const span = allocator.alloc(200);
    span.write(0, someBytes(span.size));
    const own = new Error("no such register");
    changesNothing(allocator, () =>
      assert.throws(
        () =>
          allocator.write(span, (code) => {
            code.fill(0xee);
            throw own;
          }),
        (error) => error === own,
      ),
    );
    assert.deepEqual(span.read(), someBytes(span.size));
    allocator.write(span, (code) => void code.fill(1));
    assert.deepEqual(span.read(), new Uint8Array(span.size).fill(1), "the next write works");
  });

  row(
    "if it releases its own span: ERR_RELEASED, nothing is written to whoever has the place now",
    {},
    ({ allocator }) => {
      allocator.alloc(64);
      const span = allocator.alloc(64);
      let heir = span;
      throwsJitError("ERR_RELEASED", () =>
        allocator.write(span, (code) => {
          code.fill(0xee);
          span.release();
          for (let tries = 0; (heir === span || heir.rx !== span.rx) && tries < 2000; tries++)
            heir = allocator.alloc(64);
          heir.write(0, someBytes(64));
        }),
      );
      assert.equal(heir.rx, span.rx);
      assert.deepEqual(heir.read(0, 64), someBytes(64));
      allocator.verify();
    },
  );

  row(
    "if it shrinks its own span, no byte goes past the new end",
    { useMultiplePools: [false] },
    ({ allocator, options }) => {
      const size = options.blockSize - (options.disableInitialPadding ? 0 : options.granularity);
      const span = allocator.alloc(size);
      let heir = span;
      try {
        allocator.write(span, (code) => {
          code.fill(0xee);
          span.shrink(1);
          heir = allocator.alloc(options.granularity);
          heir.write(0, someBytes(options.granularity));
        });
      } catch (error) {
        throwsJitError(["ERR_INVALID_ARGUMENT", "ERR_RELEASED"], () => {
          throw error;
        });
      }
      assert.notEqual(heir, span);
      assert.deepEqual(heir.read(), someBytes(options.granularity));
      assert.equal(span.size, options.granularity);
    },
  );

  row(
    "if it resets or disposes of the allocator: ERR_RELEASED or ERR_DISPOSED, no crash",
    {},
    ({ allocator }) => {
      const first = allocator.alloc(64);
      throwsJitError("ERR_RELEASED", () => allocator.write(first, () => allocator.reset("hard")));
      const second = allocator.alloc(64);
      throwsJitError("ERR_RELEASED", () => allocator.write(second, () => allocator.reset("soft")));
      const third = allocator.alloc(64);
      throwsJitError(["ERR_RELEASED", "ERR_DISPOSED"], () =>
        allocator.write(third, () => allocator[Symbol.dispose]()),
      );
    },
  );

  row("a write inside a write callback is a write like any other", {}, ({ allocator }) => {
    const outer = allocator.alloc(64);
    const inner = allocator.alloc(64);
    allocator.write(outer, (code) => {
      code.set(someBytes(64, 3));
      allocator.write(inner, (other) => {
        assert.notEqual(other.buffer, code.buffer, "two callbacks at work never share a buffer");
        other.set(someBytes(64, 5));
      });
    });
    assert.deepEqual(outer.read(0, 64), someBytes(64, 3));
    assert.deepEqual(inner.read(0, 64), someBytes(64, 5));
  });
});

describe("writeScope", () => {
  rowOnRealMemory("writes of a scope are writes", {}, ({ allocator }) => {
    for (const policy of POLICIES) {
      const spans = [100, 200, 300].map((size) => allocator.alloc(size));
      {
        using scope = allocator.writeScope(policy);
        for (const [index, span] of spans.entries()) scope.write(span, 0, someBytes(span.size, index));
        const [first] = spans;
        assert.ok(first);
        scope.write(first, (code) => {
          code.set(someBytes(10, 50));
          return 10;
        });
        scope.flush();
        scope.write(first, 0, someBytes(5, 70));
      }
      for (const [index, span] of spans.entries()) {
        if (index > 0) assert.deepEqual(span.read(), someBytes(span.size, index));
      }
      assert.deepEqual(
        spans[0]?.read(0, 10),
        Uint8Array.of(...someBytes(5, 70), ...someBytes(10, 50).subarray(5)),
      );
      for (const span of spans) span.release();
    }
  });

  row("a scope refuses what write refuses", {}, ({ allocator }) => {
    const span = allocator.alloc(64);
    const gone = allocator.alloc(64);
    gone.release();
    using scope = allocator.writeScope();
    refuses(allocator, "ERR_INVALID_ARGUMENT", () => scope.write(span, span.size, Uint8Array.of(1)));
    refuses(allocator, "ERR_INVALID_ARGUMENT", () => scope.write(span, () => 0));
    refuses(allocator, "ERR_RELEASED", () => scope.write(gone, 0, Uint8Array.of(1)));
    scope.write(span, 0, someBytes(64));
    assert.deepEqual(span.read(0, 64), someBytes(64));
  });

  row("a span released between its write and the flush does no harm", {}, ({ allocator }) => {
    const scope = allocator.writeScope();
    const first = allocator.alloc(64);
    const second = allocator.alloc(64);
    scope.write(first, 0, someBytes(64));
    scope.write(second, 0, someBytes(64));
    first.release();
    scope.flush();
    allocator.reset("hard");
    scope.flush();
    scope[Symbol.dispose]();
    scope[Symbol.dispose]();
  });
});

describe("read", () => {
  row("read gives a copy: the whole, or a part", {}, ({ allocator }) => {
    const span = allocator.alloc(64);
    span.write(0, someBytes(span.size));
    const copy = span.read();
    assert.equal(copy.length, span.size);
    copy.fill(0);
    assert.deepEqual(span.read(), someBytes(span.size), "a copy, not the memory");
    assert.deepEqual(span.read(10), someBytes(span.size).subarray(10).slice());
    assert.deepEqual(span.read(10, 5), someBytes(span.size).slice(10, 15));
    assert.deepEqual(span.read(span.size), new Uint8Array(0));
    assert.deepEqual(span.read(0, 0), new Uint8Array(0));
    const small = span.read(0, 1);
    assert.equal(small.buffer.byteLength, 1, "its buffer holds nothing else");
  });

  row("read outside the span: ERR_INVALID_ARGUMENT", {}, ({ allocator }) => {
    const span = allocator.alloc(64);
    for (const [offset, length] of [
      [-1, 1],
      [0, span.size + 1],
      [span.size, 1],
      [span.size + 1, undefined],
      [1, span.size],
      [0.5, 1],
      [0, 0.5],
      [0, -1],
      [NaN, 1],
      [0, NaN],
      [0, Infinity],
      ["0", 1],
      [0, "1"],
      [null, 1],
      [0, null],
      [2 ** 32, 1],
    ] as const) {
      refuses(
        allocator,
        "ERR_INVALID_ARGUMENT",
        () => span.read(wrong(offset), wrong(length)),
        `read(${String(offset)}, ${String(length)})`,
      );
    }
  });
});
