/** What a message says to somebody who has the call nearly right. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { JitAllocator, JitError, JitRuntime, toFunction } from "../../../src/index.ts";

/** Calls that TypeScript would not let through, as JavaScript makes them. */
function call(self: object, name: string, ...args: readonly unknown[]): unknown {
  return Reflect.apply(Reflect.get(self, name) as (...given: readonly unknown[]) => unknown, self, args);
}

const bytes = Uint8Array.of(0xc3);

test("each near miss is told what was missing", () => {
  using allocator = new JitAllocator();
  using scope = allocator.writeScope();
  const span = allocator.alloc(64);
  const offsetFirst =
    /^Cannot write: the offset comes before the bytes, as in span\.write\(0, bytes\) or allo/;
  const spanNeeded = /: the target must be a Span; query\(address\) makes one of an address$/;
  const cases: readonly (readonly [what: () => unknown, message: RegExp])[] = [
    [() => call(span, "write", bytes), offsetFirst],
    [() => call(span, "write", bytes, 0), offsetFirst],
    [() => call(allocator, "write", span, bytes), offsetFirst],
    [() => call(scope, "write", span, bytes), offsetFirst],
    [() => call(allocator, "write", span, bytes, 0), offsetFirst],
    [
      () => call(span, "write", () => 1),
      /^Cannot write: a span's write takes no callback; pass it to allocator\.write\(span, callback\)$/,
    ],
    [
      () => call(span, "write"),
      /^Cannot write: offset and bytes are missing, as in span\.write\(0, bytes\) or /,
    ],
    [() => call(allocator, "write", span), /^Cannot write: .*missing.*write\(span, 0, bytes\)$/],
    [() => call(span, "write", 0), /^Cannot write undefined: the bytes must be a Uint8Array$/],
    [() => call(span, "write", "0", bytes), /: the offset must be an integer from 0 on, and is "0"$/],
    [() => call(span, "write", -1, bytes), /: the offset must be an integer from 0 on, and is -1$/],
    [() => call(span, "read", "0"), /: the offset must be an integer from 0 on, and is "0"$/],
    [() => call(span, "read", 0, -1), /: the length must be an integer from 0 on, and is -1$/],
    [() => call(span, "write", 64, bytes), /^Cannot write 1 byte at offset 64: the span has 64$/],
    [() => call(span, "read", 60, 5), /^Cannot read 5 bytes at offset 60: the span has 64$/],
    [() => call(allocator, "write", bytes), spanNeeded],
    [() => call(allocator, "write", span.rx, 0, bytes), spanNeeded],
    [
      () => call(allocator, "release", 1n),
      /^Cannot release 1n: the target must be a Span, or its address as a number$/,
    ],
    [
      () => call(allocator, "query", span),
      /: an address is an integer from 0 to 2\*\*53 - 1, as span\.rx is$/,
    ],
    [
      () => call(allocator, "alloc"),
      /^Cannot allocate: a size must be an integer above 0, and is undefined$/,
    ],
    [() => call(allocator, "alloc", bytes), /a size must be an integer above 0, and is an object$/],
    [() => call(allocator, "allocationsOf", 7), /^Cannot look up member 7: the allocator is not shared$/],
    [() => call(Reflect, "construct", JitRuntime, [allocator]), /pass it as \{ allocator \}$/],
    [
      () => call({ toFunction }, "toFunction", span.rx),
      /the code must be a Span; query\(address\) makes one/,
    ],
  ];
  for (const [what, message] of cases) {
    assert.throws(what, (error) => {
      assert.ok(error instanceof JitError);
      assert.equal(error.code, "ERR_INVALID_ARGUMENT");
      assert.match(error.message, message);
      return true;
    });
  }
});
