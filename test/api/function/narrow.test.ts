/** Integers of 8 and 16 bits arrive extended to 32, wherever they travel, and come back cut to their size. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, toFunction, type ParameterType } from "../../../src/index.ts";
import { needs } from "../../support/requirements.ts";

const skip = needs("systemV");

/** Calls that are made by address, and then by whatever is faster. */
const CALLS = 10_000;

/** The extremes of each, as 32-bit code sees them. */
const VALUES: Readonly<Record<"i8" | "u8" | "i16" | "u16", readonly number[]>> = {
  i8: [-128, -1, 0, 1, 127],
  u8: [0, 1, 128, 255],
  i16: [-32768, -1, 0, 1, 32767],
  u16: [0, 1, 32768, 65535],
};
const TYPES = ["i8", "u8", "i16", "u16"] as const;

/** mov eax, <the register of the integer argument>; ret */
const FROM_REGISTER = [
  [0x89, 0xf8, 0xc3], // edi
  [0x89, 0xf0, 0xc3], // esi
  [0x89, 0xd0, 0xc3], // edx
  [0x89, 0xc8, 0xc3], // ecx
  [0x44, 0x89, 0xc0, 0xc3], // r8d
  [0x44, 0x89, 0xc8, 0xc3], // r9d
];

/** Code that returns the integer argument of an index, all 32 bits of its place. */
function returnWhole(index: number): Uint8Array {
  // mov eax, [rsp + 8 * …]; ret
  return Uint8Array.from(FROM_REGISTER[index] ?? [0x8b, 0x44, 0x24, 8 * (index - 5), 0xc3]);
}

describe("narrow integers", { skip }, () => {
  test("the seventh argument is whole: five bytes that read it", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(5);
    span.write(0, Uint8Array.of(0x8b, 0x44, 0x24, 0x08, 0xc3));
    const seventh = toFunction(span, {
      parameters: ["i32", "i32", "i32", "i32", "i32", "i32", "u8"],
      result: "i32",
    });
    for (let count = 0; count < CALLS; count++) assert.equal(seventh(-1, -1, -1, -1, -1, -1, 1), 1);
  });

  for (const type of [...TYPES, "i32", "u32"] as const) {
    test(`${type}: -0 is the integer 0`, () => {
      using allocator = new JitAllocator();
      const code = returnWhole(0);
      const span = allocator.alloc(code.length);
      span.write(0, code);
      const call = toFunction(span, { parameters: [type], result: "i32" });
      for (let count = 0; count < CALLS; count++) assert.equal(call(-0), 0);
    });
  }

  for (const type of TYPES) {
    test(`${type}: in each of ten places, beside others`, () => {
      using allocator = new JitAllocator();
      for (let index = 0; index < 10; index++) {
        const code = returnWhole(index);
        const span = allocator.alloc(code.length);
        span.write(0, code);
        const parameters = Array.from({ length: 10 }, (_, at): ParameterType =>
          at === index ? type : (TYPES[at % TYPES.length] ?? "i8"),
        );
        const call = toFunction(span, { parameters, result: "i32" });
        for (let count = 0; count < CALLS / 10; count++) {
          const value = VALUES[type][count % VALUES[type].length] ?? 0;
          const args = parameters.map((each, at) =>
            at === index ? value : each === "i8" || each === "i16" ? -1 : 255,
          );
          assert.equal(call(...args), value, `argument ${index + 1} of call ${count + 1}`);
        }
      }
    });

    test(`${type}: a result is its own bits, whatever stands above`, () => {
      using allocator = new JitAllocator();
      for (const value of VALUES[type]) {
        const span = allocator.alloc(6);
        // mov eax, …; ret, with everything above the result turned round
        const garbage = new DataView(new ArrayBuffer(4));
        garbage.setInt32(0, ~value, true);
        if (type === "i8" || type === "u8") garbage.setUint8(0, value & 0xff);
        else garbage.setUint16(0, value & 0xffff, true);
        span.write(0, Uint8Array.of(0xb8, ...new Uint8Array(garbage.buffer), 0xc3));
        const call = toFunction(span, { parameters: [], result: type });
        for (let count = 0; count < CALLS / 10; count++) assert.equal(call(), value);
      }
    });
  }
});
