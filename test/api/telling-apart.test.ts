/** What assertions and JSON of others make of this library's objects: what differs compares as different, and nothing gets lost. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect, isDeepStrictEqual } from "node:util";
import { JitAllocator, JitError, JitRuntime, Span } from "../../src/index.ts";

/** What assertions compare beside own properties: node:assert, and the equality of Jest, Vitest and Chai. */
function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value);
}

describe("two spans", () => {
  it("are different to node:assert where their allocations are, also within other objects", () => {
    using allocator = new JitAllocator();
    const first = allocator.alloc(64);
    const second = allocator.alloc(64);
    assert.notDeepStrictEqual(first, second);
    assert.notDeepStrictEqual({ code: [first] }, { code: [second] });
    assert.notDeepStrictEqual(new Map([["code", first]]), new Map([["code", second]]));
    assert.throws(() => assert.deepStrictEqual(first, second), /Span/);
    assert.notEqual(tagOf(first), tagOf(second));
  });

  it("are the same where their allocation is, and lives", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    const other = allocator.query(span.rx + 1);
    assert.notEqual(other, span);
    assert.deepStrictEqual(other, span);
    assert.equal(tagOf(other), tagOf(span));
    assert.ok(span.equals(other) && other.equals(span) && span.equals(span));
  });

  it("are different where one of them was released, and the other has its place", () => {
    using allocator = new JitAllocator();
    const released = allocator.alloc(64);
    released.release();
    const next = allocator.alloc(64);
    assert.equal(next.rx, released.rx);
    assert.notDeepStrictEqual(released, next);
    next.release();
    // Both were released now: nothing but the object tells them apart.
    assert.notDeepStrictEqual(released, next);
    assert.deepStrictEqual(released, released);
    assert.equal(tagOf(released), tagOf(released));
    assert.notEqual(tagOf(released), tagOf(next));
    assert.ok(!released.equals(next) && released.equals(released));
  });

  it("are told apart where generations tell their allocations apart", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    const { token } = span;
    const known = allocator.spanOf(token);
    const other = allocator.alloc(64);
    assert.ok(span.equals(known) && known.equals(span));
    assert.notDeepStrictEqual(known, other);
    assert.ok(!known.equals(other));
  });

  it("equal nothing that only looks like a span", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    for (const value of [
      undefined,
      null,
      span.rx,
      { rx: span.rx },
      Object.create(span),
      Span.prototype,
      "Span",
    ]) {
      assert.ok(!span.equals(value));
    }
  });

  it("of a shared allocator are told apart as well, also when it is gone", () => {
    const allocator = new JitAllocator();
    allocator.share();
    const first = allocator.alloc(64);
    const second = allocator.alloc(64);
    assert.notDeepStrictEqual(first, second);
    assert.deepStrictEqual(allocator.query(first.rx), first);
    allocator.dispose();
    assert.notDeepStrictEqual(first, second);
  });

  it("show where they are, and cannot be made to fail by whoever prints them", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    const address = span.rx.toString(16);
    assert.equal(inspect(span).replaceAll("_", "").includes(address), true);
    assert.match(inspect(Span.prototype), /Span/);
    assert.match(inspect(Object.create(Span.prototype)), /Span/);
    allocator.dispose();
    assert.match(inspect(span), /released/);
  });

  it("have no property of their own for it: a span is as small as it was", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    void tagOf(span);
    assert.deepEqual(Reflect.ownKeys(span), []);
  });
});

describe("two of the other objects", () => {
  it("are different to node:assert", () => {
    using allocator = new JitAllocator();
    using another = new JitAllocator();
    assert.ok(!isDeepStrictEqual(allocator, another));
    assert.ok(!isDeepStrictEqual(new JitRuntime({ allocator }), new JitRuntime({ allocator })));
    assert.ok(!isDeepStrictEqual(allocator.writeScope(), allocator.writeScope()));
    assert.ok(isDeepStrictEqual({ allocator }, { allocator }));
    assert.equal(tagOf(allocator), tagOf(allocator));
    assert.match(inspect(allocator), /JitAllocator/);
    assert.match(inspect(JitAllocator.prototype), /JitAllocator/);
  });
});

describe("JSON", () => {
  const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

  it("of an error has its message, its code and what the system said", () => {
    const plain = new JitError("ERR_DISPOSED", "it is gone");
    assert.deepEqual(json(plain), { name: "JitError", code: "ERR_DISPOSED", message: "it is gone" });
    const failure = { syscall: "mmap", errno: 12, cause: new RangeError("no room") };
    assert.deepEqual(json({ error: new JitError("ERR_OUT_OF_MEMORY", "Cannot allocate", failure) }), {
      error: {
        name: "JitError",
        code: "ERR_OUT_OF_MEMORY",
        message: "Cannot allocate",
        syscall: "mmap",
        errno: 12,
        cause: "RangeError: no room",
      },
    });
  });

  it("of an error never fails, whatever its cause is", () => {
    const circle: { self?: unknown } = {};
    circle.self = circle;
    const hostile = {
      get name(): never {
        throw new Error("not to be asked");
      },
    };
    const lying = new Error("x");
    Object.defineProperty(lying, "message", {
      get: () => {
        throw new Error("not to be asked");
      },
    });
    for (const cause of [circle, hostile, lying, 12n, Symbol("cause"), () => 1, null, "text"]) {
      const found = json(new JitError("ERR_DISPOSED", "gone", { cause })) as Record<string, unknown>;
      assert.equal(found["message"], "gone");
      assert.equal(typeof found["cause"], "string");
    }
  });

  it("of an error that was thrown is that of the real one", () => {
    using allocator = new JitAllocator();
    const found = ((): unknown => {
      try {
        return allocator.alloc(0);
      } catch (error) {
        return json(error);
      }
    })();
    assert.deepEqual(found, {
      name: "JitError",
      code: "ERR_INVALID_ARGUMENT",
      message: "Cannot allocate 0 bytes: a size must be an integer above 0",
    });
  });

  it("of a span has what can be read of it, live or not", () => {
    const allocator = new JitAllocator();
    const span = allocator.alloc(100);
    const { rx, rw } = span;
    assert.deepEqual(json([span]), [{ rx, rw, size: 128, kind: "code", isReleased: false }]);
    span.release();
    assert.deepEqual(json(span), { rx, rw, size: 0, kind: "code", isReleased: true });
    allocator.dispose();
    assert.deepEqual(json(span), { rx, rw, size: 0, kind: "code", isReleased: true });
  });

  it("of statistics and tokens is what they are", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(100);
    assert.deepEqual(json(allocator.statistics()), allocator.statistics());
    assert.deepEqual(json(span.token), span.token);
  });
});
