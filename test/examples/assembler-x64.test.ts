import { AssemblyState } from "@defasm/core";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Memory } from "../../examples/brainf/assembler-x64.ts";
import { Condition, Label, Reg, X64Assembler } from "../../examples/brainf/assembler-x64.ts";
import { CodeBufferFull } from "../../examples/brainf/code-buffer.ts";

function hex(emit: (assembler: X64Assembler) => void): string {
  const code = new Uint8Array(64);
  const assembler = new X64Assembler(code);
  emit(assembler);
  return Buffer.from(code.subarray(0, assembler.length)).toString("hex");
}

/** What another assembler makes of the text. */
function assembled(text: string): string {
  const state = new AssemblyState({ syntax: { intel: true, prefix: false } });
  state.compile(text);
  assert.deepEqual(
    state.errors.map(({ message }) => message),
    [],
    text,
  );
  return Buffer.from(state.head.dump()).toString("hex");
}

const dwordNames = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d"];
const byteNames = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b"];
const qwordNames = Object.keys(Reg);

const memories: readonly Memory[] = [
  { base: Reg.rsi, displacement: 0 },
  { base: Reg.rbp, displacement: 0 },
  { base: Reg.rsp, displacement: 8 },
  { base: Reg.r8, displacement: -1 },
  { base: Reg.rdi, index: Reg.r8, displacement: 0 },
  { base: Reg.rdi, index: Reg.r8, displacement: 127 },
  { base: Reg.rdi, index: Reg.r8, displacement: 128 },
  { base: Reg.rdi, index: Reg.r8, displacement: -128 },
  { base: Reg.rdi, index: Reg.r8, displacement: -129 },
  { base: Reg.rbp, index: Reg.rax, displacement: 0 },
  { base: Reg.rdx, index: Reg.r10, displacement: 1_000_000 },
];

function textOf({ base, index, displacement }: Memory): string {
  // With the factor it is clear which of the two is the index.
  const indexText = index === undefined ? "" : ` + ${qwordNames[index]} * 1`;
  const sign = displacement < 0 ? "-" : "+";
  const displacementText = displacement === 0 ? "" : ` ${sign} ${Math.abs(displacement)}`;
  return `[${qwordNames[base]}${indexText}${displacementText}]`;
}

test("instructions with a memory operand are encoded as another assembler encodes them", () => {
  for (const memory of memories) {
    const at = textOf(memory);
    const check = (text: string, emit: (assembler: X64Assembler) => void): void => {
      assert.equal(hex(emit), assembled(text), text);
    };
    for (const register of [Reg.rax, Reg.rsi, Reg.rdi, Reg.r11]) {
      const dword = dwordNames[register] ?? "";
      const byte = byteNames[register] ?? "";
      check(`mov ${dword}, dword ptr ${at}`, (assembler) => assembler.load32(register, memory));
      check(`mov dword ptr ${at}, ${dword}`, (assembler) => assembler.store32(memory, register));
      const qword = qwordNames[register] ?? "";
      check(`mov ${qword}, qword ptr ${at}`, (assembler) => assembler.load64(register, memory));
      check(`mov qword ptr ${at}, ${qword}`, (assembler) => assembler.store64(memory, register));
      check(`movzx ${dword}, byte ptr ${at}`, (assembler) => assembler.load8(register, memory));
      check(`mov byte ptr ${at}, ${byte}`, (assembler) => assembler.store8(memory, register));
      check(`add byte ptr ${at}, ${byte}`, (assembler) => assembler.add8(memory, register));
      check(`sub byte ptr ${at}, ${byte}`, (assembler) => assembler.sub8(memory, register));
      check(`cmp ${dword}, dword ptr ${at}`, (assembler) => assembler.compare32(register, memory));
      check(`lea ${qword}, ${at}`, (assembler) => assembler.lea64(register, memory));
      check(`lea ${dword}, ${at}`, (assembler) => assembler.lea32(register, memory));
    }
    check(`mov byte ptr ${at}, 7`, (assembler) => assembler.store8Immediate(memory, 7));
    check(`add byte ptr ${at}, -2`, (assembler) => assembler.add8Immediate(memory, -2));
    check(`cmp byte ptr ${at}, 0`, (assembler) => assembler.compare8Immediate(memory, 0));
    check(`call qword ptr ${at}`, (assembler) => assembler.callIndirect(memory));
    check(`inc dword ptr ${at}`, (assembler) => assembler.incrementMemory32(memory));
  }
});

test("instructions on registers are encoded as another assembler encodes them", () => {
  for (const register of [Reg.rcx, Reg.rdi, Reg.r8, Reg.r11]) {
    const name = dwordNames[register] ?? "";
    const check = (text: string, emit: (assembler: X64Assembler) => void): void => {
      assert.equal(hex(emit), assembled(text), text);
    };
    check(`mov ${name}, 305419896`, (assembler) => assembler.mov32Immediate(register, 0x12345678));
    check(`inc ${name}`, (assembler) => assembler.increment32(register));
    check(`dec ${name}`, (assembler) => assembler.decrement32(register));
    const qword = qwordNames[register] ?? "";
    check(`push ${qword}`, (assembler) => assembler.push(register));
    check(`pop ${qword}`, (assembler) => assembler.pop(register));
    for (const value of [1, 127, -128, 128, 65_536, -129]) {
      check(`and ${qword}, ${value}`, (assembler) => assembler.and64Immediate(register, value));
      check(`add ${name}, ${value}`, (assembler) => assembler.add32Immediate(register, value));
      check(`cmp ${name}, ${value}`, (assembler) => assembler.compare32Immediate(register, value));
    }
    check(`imul ${name}, eax, 200`, (assembler) => assembler.multiply32Immediate(register, Reg.rax, 200));
  }
});

test("jumps reach their labels ahead and back, short and far", () => {
  const ahead = new Label();
  assert.equal(
    hex((assembler) => {
      assembler.jumpIf(Condition.equal, ahead);
      assembler.jump(ahead);
      assembler.return();
      assembler.bind(ahead);
      assembler.return();
    }),
    "0f8406000000" + "e901000000" + "c3" + "c3",
  );
  const back = new Label();
  const bytes = Buffer.from(
    hex((assembler) => {
      assembler.bind(back);
      assembler.jumpIf(Condition.notSign, back);
      assembler.jump(back);
    }),
    "hex",
  );
  assert.equal(bytes.toString("hex"), "79feebfc");
  const far = new Label();
  const code = new Uint8Array(256);
  const assembler = new X64Assembler(code);
  assembler.bind(far);
  while (assembler.length < 127) assembler.return();
  assembler.jump(far);
  assert.equal(Buffer.from(code.subarray(127, 132)).toString("hex"), "e97cffffff");
});

test("a call reaches what lies before the code and behind it", () => {
  const calls = hex((assembler) => {
    assembler.return();
    assembler.call(0);
    assembler.call(11 - 2 ** 31);
    assembler.call(2 ** 31 - 1);
  });
  assert.equal(calls, "c3" + "e8faffffff" + "e800000080" + "e8efffff7f");
});

test("what aligns the code is as few instructions as can be", () => {
  const nops = ["nop", "xchg ax, ax", "nop dword ptr [rax]"].map((text) => assembled(text));
  for (const [bytes, expected] of [
    [16, ""],
    [15, nops[0]],
    [14, nops[1]],
    [13, nops[2]],
    [5, "660f1f840000000000" + "6690"],
  ] as const) {
    const code = hex((assembler) => {
      for (let index = 0; index < bytes; index++) assembler.return();
      assembler.align(16);
    });
    assert.equal(code, "c3".repeat(bytes) + (expected ?? ""));
  }
});

test("a full buffer is an error of its own", () => {
  const assembler = new X64Assembler(new Uint8Array(4));
  assert.throws(() => assembler.mov32Immediate(Reg.rax, 1), CodeBufferFull);
});
