import assert from "node:assert/strict";
import { test } from "node:test";
import { Arm64Assembler, Condition, Label, SP } from "../../examples/query/arm64-assembler.ts";

/** Each instruction as text, what `llvm-mc -triple=aarch64 -show-encoding` makes of the text, and the method. */
const instructions: readonly (readonly [string, number, (to: Arm64Assembler) => void])[] = [
  ["ldr q1, [x2, #32]", 0x3dc00841, (to) => to.loadVector(1, 2, 32)],
  ["str q1, [x2, #32]", 0x3d800841, (to) => to.storeVector(1, 2, 32)],
  ["ldr d1, [x2]", 0xfd400041, (to) => to.loadHalfVector(1, 2)],
  ["ldr x4, [sp, #8]", 0xf94007e4, (to) => to.load64(4, SP, 8)],
  ["sshll v1.2d, v2.2s, #0", 0x0f20a441, (to) => to.one("sshll", 1, 2)],
  ["scvtf v1.2d, v2.2d", 0x4e61d841, (to) => to.one("scvtf", 1, 2)],
  ["fneg v1.2d, v2.2d", 0x6ee0f841, (to) => to.one("fneg", 1, 2)],
  ["fabs v1.2d, v2.2d", 0x4ee0f841, (to) => to.one("fabs", 1, 2)],
  ["frintz v1.2d, v2.2d", 0x4ee19841, (to) => to.one("frintz", 1, 2)],
  ["mvn v1.16b, v2.16b", 0x6e205841, (to) => to.one("not", 1, 2)],
  ["fadd v1.2d, v2.2d, v3.2d", 0x4e63d441, (to) => to.two("fadd", 1, 2, 3)],
  ["fsub v1.2d, v2.2d, v3.2d", 0x4ee3d441, (to) => to.two("fsub", 1, 2, 3)],
  ["fmul v1.2d, v2.2d, v3.2d", 0x6e63dc41, (to) => to.two("fmul", 1, 2, 3)],
  ["fdiv v1.2d, v2.2d, v3.2d", 0x6e63fc41, (to) => to.two("fdiv", 1, 2, 3)],
  ["fmls v1.2d, v2.2d, v3.2d", 0x4ee3cc41, (to) => to.two("fmls", 1, 2, 3)],
  ["and v1.16b, v2.16b, v3.16b", 0x4e231c41, (to) => to.two("and", 1, 2, 3)],
  ["orr v1.16b, v2.16b, v3.16b", 0x4ea31c41, (to) => to.two("orr", 1, 2, 3)],
  ["fcmeq v1.2d, v2.2d, v3.2d", 0x4e63e441, (to) => to.two("fcmeq", 1, 2, 3)],
  ["fcmge v1.2d, v2.2d, v3.2d", 0x6e63e441, (to) => to.two("fcmge", 1, 2, 3)],
  ["fcmgt v1.2d, v2.2d, v3.2d", 0x6ee3e441, (to) => to.two("fcmgt", 1, 2, 3)],
  ["mov x1, v2.d[0]", 0x4e083c41, (to) => to.laneToRegister(1, 2, 0)],
  ["mov x1, v2.d[1]", 0x4e183c41, (to) => to.laneToRegister(1, 2, 1)],
  ["orr x1, x2, x3", 0xaa030041, (to) => to.or64(1, 2, 3)],
  ["sub x1, x2, x3", 0xcb030041, (to) => to.subtract64(1, 2, 3)],
  ["add x1, x2, x3, lsl #3", 0x8b030c41, (to) => to.addShifted64(1, 2, 3, 3)],
  ["add w1, w2, #1", 0x11000441, (to) => to.add32Immediate(1, 2, 1)],
  ["add x1, x2, #16", 0x91004041, (to) => to.add64Immediate(1, 2, 16)],
  ["sub x1, x2, #2", 0xd1000841, (to) => to.add64Immediate(1, 2, -2)],
  ["sub sp, sp, #32", 0xd10083ff, (to) => to.add64Immediate(SP, SP, -32)],
  ["sub sp, sp, #1, lsl #12", 0xd14007ff, (to) => to.add64Immediate(SP, SP, -4096)],
  ["str w1, [x2, x3, lsl #2]", 0xb8237841, (to) => to.store32Indexed(1, 2, 3)],
  ["mov w1, w2", 0x2a0203e1, (to) => to.move32(1, 2)],
  ["mvn w1, w2", 0x2a2203e1, (to) => to.not32(1, 2)],
  ["cmp x1, x2", 0xeb02003f, (to) => to.compare64(1, 2)],
  ["ret", 0xd65f03c0, (to) => to.return()],
];

function words(emit: (assembler: Arm64Assembler) => void): readonly number[] {
  const assembler = new Arm64Assembler();
  emit(assembler);
  const view = new DataView(assembler.toBytes().buffer);
  return Array.from({ length: assembler.length / 4 }, (_, index) => view.getUint32(index * 4, true));
}

test("each instruction is what another assembler makes of its text", () => {
  for (const [text, expected, emit] of instructions) assert.deepEqual(words(emit), [expected], text);
});

test("branches and addresses reach their labels, ahead and back", () => {
  const [ahead, back] = [new Label(), new Label()];
  const code = words((to) => {
    to.bind(back);
    to.addressOf(1, ahead); //                     adr x1, #20
    to.jumpIf(Condition.greater, ahead); //        b.gt #16
    to.jumpIfNotZero64(1, ahead); //               cbnz x1, #12
    to.jumpIf(Condition.lessOrEqual, back); //     b.le #-12
    to.jump(back); //                              b #-16
    to.bind(ahead);
    to.return();
  });
  assert.deepEqual(code, [0x100000a1, 0x5400008c, 0xb5000061, 0x54ffffad, 0x17fffffc, 0xd65f03c0]);
});

test("what no instruction holds is refused", () => {
  const to = new Arm64Assembler();
  assert.throws(() => to.loadVector(0, 0, 65_536), RangeError);
  assert.throws(() => to.loadVector(0, 0, 8), RangeError);
  assert.throws(() => to.add64Immediate(0, 0, 2 ** 24), RangeError);
});
