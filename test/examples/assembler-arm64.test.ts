import assert from "node:assert/strict";
import { test } from "node:test";
import { Arm64Assembler, Condition, Label, Reg } from "../../examples/brainf/assembler-arm64.ts";
import { CodeBufferFull } from "../../examples/brainf/code-buffer.ts";

const { x0, x1, x2, x3, x4, x5, x6, x7, x9, x10, x11, x12, x29, x30, zero } = Reg;

/** The words as they lie in memory, in hexadecimal. */
function hex(emit: (assembler: Arm64Assembler) => void, bufferBytes = 64): string {
  const code = new Uint8Array(bufferBytes);
  const assembler = new Arm64Assembler(code);
  emit(assembler);
  const words = Buffer.from(code.subarray(0, assembler.length)).toString("hex").match(/.{8}/g) ?? [];
  return words.join(" ");
}

/** Each instruction as text, what `llvm-mc -triple=aarch64 -show-encoding` makes of the text, and the method. */
const instructions: readonly (readonly [string, string, (to: Arm64Assembler) => void])[] = [
  ["mov w9, #0", "09008052", (to) => to.move32Immediate(x9, 0)],
  ["mov w0, #65535", "e0ff9f52", (to) => to.move32Immediate(x0, 65_535)],
  ["movz w7, #0; movk w7, #1, lsl #16", "07008052 2700a072", (to) => to.move32Immediate(x7, 65_536)],
  [
    "movz w12, #0x5678; movk w12, #0x1234, lsl #16",
    "0ccf8a52 8c46a272",
    (to) => to.move32Immediate(x12, 0x1234_5678),
  ],
  ["movz w10, #0xffff; movk w10, #0xffff, lsl #16", "eaff9f52 eaffbf72", (to) => to.move32Immediate(x10, -1)],
  ["mov w0, w7", "e003072a", (to) => to.move32(x0, x7)],
  ["ldr w4, [x1]", "240040b9", (to) => to.load32(x4, { base: x1, displacement: 0 })],
  ["ldr w12, [x3, #16380]", "6cfc7fb9", (to) => to.load32(x12, { base: x3, displacement: 16_380 })],
  ["str w9, [x1, #12]", "290c00b9", (to) => to.store32({ base: x1, displacement: 12 }, x9)],
  ["str wzr, [x11, #8]", "7f0900b9", (to) => to.store32({ base: x11, displacement: 8 }, zero)],
  ["ldrb w9, [x4]", "89004039", (to) => to.load8(x9, { base: x4, displacement: 0 })],
  ["ldrb w10, [x4, #4095]", "8afc7f39", (to) => to.load8(x10, { base: x4, displacement: 4095 })],
  ["ldurb w9, [x4, #-1]", "89f05f38", (to) => to.load8(x9, { base: x4, displacement: -1 })],
  ["ldurb w9, [x11, #-256]", "69015038", (to) => to.load8(x9, { base: x11, displacement: -256 })],
  ["strb w10, [x4, #1]", "8a040039", (to) => to.store8({ base: x4, displacement: 1 }, x10)],
  ["strb wzr, [x4]", "9f000039", (to) => to.store8({ base: x4, displacement: 0 }, zero)],
  ["sturb w9, [x4, #-200]", "89801338", (to) => to.store8({ base: x4, displacement: -200 }, x9)],
  ["ldrb w10, [x3, x9]", "6a686938", (to) => to.load8Indexed(x10, x3, x9)],
  ["strb w9, [x2, x6]", "49682638", (to) => to.store8Indexed(x2, x6, x9)],
  ["add w10, w10, w9", "4a01090b", (to) => to.add32(x10, x10, x9)],
  ["add x4, x4, x0", "8400008b", (to) => to.add64(x4, x4, x0)],
  ["sub w9, w4, w0", "8900004b", (to) => to.subtract32(x9, x4, x0)],
  ["madd w10, w9, w12, w10", "2a290c1b", (to) => to.multiplyAdd32(x10, x9, x12, x10)],
  ["add w6, w6, #1", "c6040011", (to) => to.add32Immediate(x6, x6, 1)],
  ["add w9, w10, #0", "49010011", (to) => to.add32Immediate(x9, x10, 0)],
  ["sub w9, w9, #4095", "29fd3f51", (to) => to.add32Immediate(x9, x9, -4095)],
  ["add w9, w10, #1, lsl #12", "49054011", (to) => to.add32Immediate(x9, x10, 4096)],
  [
    "sub w9, w10, #1, lsl #12; sub w9, w9, #1",
    "49054051 29050051",
    (to) => to.add32Immediate(x9, x10, -4097),
  ],
  ["add x4, x4, #255", "84fc0391", (to) => to.add64Immediate(x4, x4, 255)],
  ["sub x4, x4, #1", "840400d1", (to) => to.add64Immediate(x4, x4, -1)],
  [
    "add x11, x4, #244, lsl #12; add x11, x11, #576",
    "8bd04391 6b010991",
    (to) => to.add64Immediate(x11, x4, 1_000_000),
  ],
  [
    "add x4, x4, #244, lsl #12; add x4, x4, #576",
    "84d04391 84000991",
    (to) => to.add64Immediate(x4, x4, 1_000_000),
  ],
  [
    "sub x11, x4, #4095, lsl #12; sub x11, x11, #1, lsl #12",
    "8bfc7fd1 6b0540d1",
    (to) => to.add64Immediate(x11, x4, -16_777_216),
  ],
  [
    "add x4, x4, #4095, lsl #12; add x4, x4, #787, lsl #12; add x4, x4, #3329",
    "84fc7f91 844c4c91 84043491",
    (to) => to.add64Immediate(x4, x4, 20_000_001),
  ],
  ["subs w5, w5, #1", "a5040071", (to) => to.decrement32AndTest(x5, x5)],
  ["subs w9, w10, #1", "49050071", (to) => to.decrement32AndTest(x9, x10)],
  ["cmp w9, #4095", "3ffd3f71", (to) => to.compare32Immediate(x9, 4095, x10)],
  ["cmp w6, #16, lsl #12", "df404071", (to) => to.compare32Immediate(x6, 65_536, x10)],
  ["cmp w9, #4095, lsl #12", "3ffd7f71", (to) => to.compare32Immediate(x9, 16_773_120, x10)],
  ["mov w10, #4097; cmp w9, w10", "2a008252 3f010a6b", (to) => to.compare32Immediate(x9, 4097, x10)],
  [
    "movz w10, #0; movk w10, #0x100, lsl #16; cmp w9, w10",
    "0a008052 0a20a072 3f010a6b",
    (to) => to.compare32Immediate(x9, 2 ** 24, x10),
  ],
  ["cmp w9, w10", "3f010a6b", (to) => to.compare32(x9, x10)],
  ["ldr x9, [x1, #24]", "290c40f9", (to) => to.load64(x9, { base: x1, displacement: 24 })],
  ["ldr x12, [x3, #32760]", "6cfc7ff9", (to) => to.load64(x12, { base: x3, displacement: 32_760 })],
  ["stp x29, x30, [sp, #-16]!", "fd7bbfa9", (to) => to.pushPair(x29, x30)],
  ["stp x4, x5, [sp, #-16]!", "e417bfa9", (to) => to.pushPair(x4, x5)],
  ["ldp x29, x30, [sp], #16", "fd7bc1a8", (to) => to.popPair(x29, x30)],
  ["ldp x0, x1, [sp], #16", "e007c1a8", (to) => to.popPair(x0, x1)],
  ["br x9", "20011fd6", (to) => to.jumpIndirect(x9)],
  ["bl .+8", "02000094", (to) => to.call(8)],
  ["bl .-134217728", "00000096", (to) => to.call(-(2 ** 27))],
  [
    "ret; bl .-4",
    "c0035fd6 ffffff97",
    (to) => {
      to.return();
      to.call(0);
    },
  ],
  ["ret", "c0035fd6", (to) => to.return()],
];

for (const [text, encoding, emit] of instructions) {
  test(`${text}: encoded as another assembler encodes it`, () => {
    assert.equal(hex(emit), encoding);
  });
}

test("every branch reaches its label, ahead and back", () => {
  const ahead = (emit: (to: Arm64Assembler, label: Label) => void): string => {
    const label = new Label();
    return hex((to) => {
      emit(to, label);
      to.return();
      to.bind(label);
    });
  };
  const back = (emit: (to: Arm64Assembler, label: Label) => void): string => {
    const label = new Label();
    return hex((to) => {
      to.bind(label);
      to.return();
      emit(to, label);
    });
  };
  const ret = "c0035fd6";
  // b .+8; b .-4
  assert.equal(
    ahead((to, label) => to.jump(label)),
    `02000014 ${ret}`,
  );
  assert.equal(
    back((to, label) => to.jump(label)),
    `${ret} ffffff17`,
  );
  // cbz w9, .+8; cbz w10, .-4
  assert.equal(
    ahead((to, label) => to.jumpIfZero32(x9, label)),
    `49000034 ${ret}`,
  );
  assert.equal(
    back((to, label) => to.jumpIfZero32(x10, label)),
    `${ret} eaffff34`,
  );
  // cbnz w7, .+8
  assert.equal(
    ahead((to, label) => to.jumpIfNotZero32(x7, label)),
    `47000035 ${ret}`,
  );
  // b.hs .+8; b.pl .-4
  assert.equal(
    ahead((to, label) => to.jumpIf(Condition.higherOrSame, label)),
    `42000054 ${ret}`,
  );
  assert.equal(
    back((to, label) => to.jumpIf(Condition.plus, label)),
    `${ret} e5ffff54`,
  );
});

test("where a conditional branch might not reach, its opposite leaps over one that does", () => {
  const large = 2 ** 20 + 4;
  const far = new Label();
  // b.lo .+8; b .+8; ret
  assert.equal(
    hex((to) => {
      to.jumpIf(Condition.higherOrSame, far);
      to.return();
      to.bind(far);
    }, large),
    "43000054 02000014 c0035fd6",
  );
  // cbnz w9, .+8; b 2^20 bytes back: more than 19 bits of words hold
  const start = new Label();
  const code = new Uint8Array(large + 8);
  const assembler = new Arm64Assembler(code);
  assembler.bind(start);
  while (assembler.length < 2 ** 20) assembler.return();
  assembler.jumpIfZero32(x9, start);
  assert.equal(Buffer.from(code.subarray(2 ** 20, 2 ** 20 + 8)).toString("hex"), "49000035fffffb17");
});

test("a full buffer is an error of its own", () => {
  const assembler = new Arm64Assembler(new Uint8Array(7));
  assembler.return();
  assert.throws(() => assembler.return(), CodeBufferFull);
});
