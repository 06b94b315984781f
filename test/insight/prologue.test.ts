/** How the frame of a function is read from its machine code. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { frameInstructions } from "../../src/insight/prologue.ts";
import { callThrough } from "../support/framed-code.ts";

/** Call frame instructions as text, by their numbers in DWARF 4, 7.23; positions in bytes of code. */
function rows(code: readonly number[], processor: "x64" | "arm64" = "x64"): readonly string[] {
  const bytes = [...frameInstructions(new Uint8Array(code), processor)];
  const read: string[] = [];
  let position = 0;
  const unit = processor === "arm64" ? 4 : 1;
  const number = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes.shift() ?? 0;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  for (let byte = bytes.shift(); byte !== undefined; byte = bytes.shift()) {
    const operand = byte & 0x3f;
    if (byte >> 6 === 1) position += operand * unit;
    else if (byte >> 6 === 2) read.push(`${position}: r${operand} at cfa-${number() * 8}`);
    else if (byte === 2) position += (bytes.shift() ?? 0) * unit;
    else if (byte === 3) position += ((bytes.shift() ?? 0) + 256 * (bytes.shift() ?? 0)) * unit;
    else if (byte === 0x0c) read.push(`${position}: cfa=r${number()}+${number()}`);
    else if (byte === 0x0e) read.push(`${position}: cfa=+${number()}`);
    else assert.fail(`the operation ${byte}`);
  }
  return read;
}

/** AArch64 instructions as bytes. */
function words(...instructions: readonly number[]): readonly number[] {
  return [...new Uint8Array(new Uint32Array(instructions).buffer)];
}

describe("the frame of x86-64 code", () => {
  test("a function that moves nothing: as at its first instruction", () => {
    assert.deepEqual(rows([0x8d, 0x04, 0x37, 0xc3]), []);
    assert.deepEqual(rows([]), []);
    assert.deepEqual(rows([0xc3]), []);
  });

  test("saved registers and room on the stack, and the way back", () => {
    // endbr64; push r12; push rbx; sub rsp, 0x20; clc; add rsp, 0x20; pop rbx; pop r12; ret; int3
    const code = [
      ...[0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x54, 0x53, 0x48, 0x83, 0xec, 0x20, 0xf8],
      ...[0x48, 0x83, 0xc4, 0x20, 0x5b, 0x41, 0x5c, 0xc3, 0xcc, 0xcc],
    ];
    assert.deepEqual(rows(code), [
      ...["6: cfa=+16", "6: r12 at cfa-16", "7: cfa=+24", "7: r3 at cfa-24", "11: cfa=+56"],
      ...["16: cfa=+24", "17: cfa=+16", "19: cfa=+8"],
    ]);
  });

  test("a frame pointer holds to the end, and is given back", () => {
    assert.deepEqual(rows([...callThrough(0x1234)]), [
      ...["1: cfa=+16", "1: r6 at cfa-16", "4: cfa=r6+16", "5: r3 at cfa-24"],
      "27: cfa=r7+8",
    ]);
    // push rbp; mov rbp, rsp; sub rsp, 0x1000; leave; ret
    assert.deepEqual(rows([0x55, 0x48, 0x8b, 0xec, 0x48, 0x81, 0xec, 0, 0x10, 0, 0, 0xc9, 0xc3]), [
      ...["1: cfa=+16", "1: r6 at cfa-16", "4: cfa=r6+16"],
      "12: cfa=r7+8",
    ]);
  });

  test("arguments moved between the pushes do not end it; other instructions do", () => {
    // push rbx; mov rbx, rdi; push r14; mov r14, rsi; call; push rax
    assert.deepEqual(rows([0x53, 0x48, 0x89, 0xfb, 0x41, 0x56, 0x49, 0x89, 0xf6, 0xe8, 0, 0, 0, 0, 0x50]), [
      ...["1: cfa=+16", "1: r3 at cfa-16", "6: cfa=+24", "6: r14 at cfa-24"],
    ]);
  });

  test("a return that undoes something else is not described", () => {
    // push rbx; sub rsp, 0x20; nop; add rsp, 0x10; pop rbx; ret
    assert.deepEqual(rows([0x53, 0x48, 0x83, 0xec, 0x20, 0x90, 0x48, 0x83, 0xc4, 0x10, 0x5b, 0xc3]), [
      ...["1: cfa=+16", "1: r3 at cfa-16", "5: cfa=+48"],
    ]);
  });

  test("code that ends in the middle of an instruction", () => {
    assert.deepEqual(rows([0x53, 0x48, 0x81, 0xec, 0x20]), ["1: cfa=+16", "1: r3 at cfa-16"]);
    assert.deepEqual(rows([0x41]), []);
  });
});

describe("the frame of AArch64 code", () => {
  test("a pair pushed, and a frame pointer", () => {
    // bti c; stp x29, x30, [sp, #-32]!; mov x29, sp; ret
    assert.deepEqual(rows(words(0xd503_245f, 0xa9be_7bfd, 0x9100_03fd, 0xd65f_03c0), "arm64"), [
      ...["8: cfa=+32", "8: r29 at cfa-32", "8: r30 at cfa-24", "12: cfa=r29+32"],
    ]);
  });

  test("room first, and the pair stored in it", () => {
    // sub sp, sp, #64; stp x29, x30, [sp, #48]; ret
    assert.deepEqual(rows(words(0xd101_03ff, 0xa903_7bfd, 0xd65f_03c0), "arm64"), [
      ...["4: cfa=+64", "8: r29 at cfa-16", "8: r30 at cfa-8"],
    ]);
  });

  test("a function that moves nothing", () => assert.deepEqual(rows(words(0xd65f_03c0), "arm64"), []));
});
