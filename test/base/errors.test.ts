import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { JitError, formatAddress } from "../../src/base/errors.ts";

describe("JitError", () => {
  test("carries its code and message, and is an Error with a name and a stack of its own", () => {
    const error = new JitError("ERR_TOO_LARGE", "Cannot allocate 3 GiB");
    assert.ok(error instanceof Error);
    assert.equal(error.name, "JitError");
    assert.equal(error.code, "ERR_TOO_LARGE");
    assert.equal(error.message, "Cannot allocate 3 GiB");
    assert.equal(String(error), "JitError: Cannot allocate 3 GiB");
    assert.match(error.stack ?? "", /errors\.test/);
  });

  test("has no syscall, errno or cause where the system had no part in it", () => {
    const error = new JitError("ERR_DISPOSED", "gone");
    assert.equal(error.syscall, undefined);
    assert.equal(error.errno, undefined);
    assert.deepEqual(Object.keys(error).sort(), ["code", "name"]);
    assert.equal(Object.hasOwn(error, "cause"), false);
  });

  test("keeps what the system said, errno 0 included", () => {
    const cause = new Error("dlopen failed");
    const error = new JitError("ERR_PERMISSION", "refused", { syscall: "mmap", errno: 13, cause });
    assert.equal(error.syscall, "mmap");
    assert.equal(error.errno, 13);
    assert.equal(error.cause, cause);
    assert.equal(new JitError("ERR_PERMISSION", "refused", { errno: 0 }).errno, 0);
  });

  test("takes an undefined field for an absent one", () => {
    const error = new JitError("ERR_PERMISSION", "refused", {
      syscall: undefined,
      errno: undefined,
      cause: undefined,
    });
    assert.equal(error.syscall, undefined);
    assert.equal(error.errno, undefined);
    assert.equal(Object.hasOwn(error, "cause"), false);
  });
});

describe("formatAddress", () => {
  const examples: readonly (readonly [number, string])[] = [
    [0, "0x0000"],
    [0x1000, "0x1000"],
    [0xffff, "0xffff"],
    [0x1_0000, "0x0001_0000"],
    [0x7f12_0040_1010, "0x7f12_0040_1010"],
    [Number.MAX_SAFE_INTEGER, "0x001f_ffff_ffff_ffff"],
  ];
  for (const [address, text] of examples) {
    test(`writes ${address} as ${text}`, () => assert.equal(formatAddress(address), text));
  }

  for (const value of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
    test(`leaves ${value}, which is no address, as it is`, () =>
      assert.equal(formatAddress(value), String(value)));
  }

  test("writes whole groups of four digits that read back as the address", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (address) => {
        const text = formatAddress(address);
        assert.match(text, /^0x[0-9a-f]{4}(_[0-9a-f]{4})*$/);
        assert.equal(Number(text.replaceAll("_", "")), address);
      }),
    );
  });
});
