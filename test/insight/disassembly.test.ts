/** Disassembly with both decoders, and its text. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { capstoneDecoder } from "../../src/insight/capstone.ts";
import { disassemble, type InstructionDecoder } from "../../src/insight/disassembly.ts";
import { icedDecoder } from "../../src/insight/iced.ts";
import { formatInstructions } from "../../src/insight/listing.ts";
import { JitAllocator } from "../../src/index.ts";
import { throwsJitError } from "../support/expectations.ts";
import { callAndAddOne } from "../support/machine-code.ts";

const RX = 0x7f00_a000_1040;

/** test rdi, rdi; je +5; call rx - 0x40; mov rax, [rip + 0x10]; jmp the first; ret */
const CODE = Uint8Array.of(
  ...[0x48, 0x85, 0xff, 0x74, 0x05, 0xe8, 0xb6, 0xff, 0xff, 0xff],
  ...[0x48, 0x8b, 0x05, 0x10, 0x00, 0x00, 0x00, 0xeb, 0xed, 0xc3],
);

const decoders: readonly (readonly [string, () => InstructionDecoder | Promise<InstructionDecoder>])[] = [
  ["iced", () => icedDecoder()],
  ["capstone", () => capstoneDecoder("x64")],
];

for (const [name, make] of decoders) {
  describe(`disassembly by ${name}`, () => {
    test("addresses, lengths and targets are those of the code where it runs", async () => {
      const found = disassemble({ rx: RX, bytes: CODE }, await make(), {
        nameOf: (address) => (address === RX - 0x40 ? "add" : undefined),
      });
      const part = found.map(({ address, bytes, target, targetName, isJump }) => [
        ...[address - RX, bytes.length, target === undefined ? undefined : target - RX],
        ...[targetName, isJump === true],
      ]);
      assert.deepEqual(part, [
        [0, 3, undefined, undefined, false],
        [3, 2, 10, undefined, true],
        [5, 5, -0x40, "add", false],
        [10, 7, 17 + 0x10, undefined, false],
        [17, 2, 0, undefined, true],
        [19, 1, undefined, undefined, false],
      ]);
      assert.deepEqual(
        found.map(({ text }) => text.split(" ")[0]),
        ["test", "je", "call", "mov", "jmp", "ret"],
      );
    });

    test("bytes that are no instruction are shown, one by one at the latest at the end", async () => {
      const bytes = Uint8Array.of(0xc3, 0x06, 0x06);
      const found = disassemble({ rx: RX, bytes }, await make());
      assert.equal(found[0]?.text, "ret");
      assert.equal(
        found.reduce((sum, one) => sum + one.bytes.length, 0),
        3,
      );
      assert.ok(found.slice(1).every(({ text, target }) => text === "(bad)" && target === undefined));
    });

    test("a span is read where it lies", async () => {
      using allocator = new JitAllocator();
      const span = allocator.alloc(CODE.length);
      span.write(0, CODE);
      const [first] = disassemble(span, await make());
      assert.equal(first?.address, span.rx);
      span.release();
      const decoder = await make();
      throwsJitError("ERR_RELEASED", () => disassemble(span, decoder));
    });
  });
}

test("capstone decodes AArch64 as well", async () => {
  // cbz x0, +8; bl -4; adrp x0, +0; ret
  const words = Uint32Array.of(0xb400_0040, 0x97ff_ffff, 0x9000_0000, 0xd65f_03c0);
  const found = disassemble({ rx: RX, bytes: new Uint8Array(words.buffer) }, await capstoneDecoder("arm64"));
  assert.deepEqual(
    found.map(({ target, isJump }) => [target === undefined ? undefined : target - RX, isJump]),
    [
      [8, true],
      [0, false],
      [-(RX % 4096), false],
      [undefined, false],
    ],
  );
  await assert.rejects(capstoneDecoder("mips"), { code: "ERR_INVALID_ARGUMENT" });
});

test("a decoder that goes too far, or nowhere, is refused", () => {
  for (const length of [0, -1, 1.5, 5, NaN]) {
    const decoder: InstructionDecoder = { decode: () => [{ length, text: "" }] };
    throwsJitError("ERR_INVALID_ARGUMENT", () => disassemble({ rx: RX, bytes: new Uint8Array(4) }, decoder));
  }
});

describe("a listing", () => {
  const listing = (bytes: Uint8Array, options = {}): string =>
    formatInstructions(
      disassemble({ rx: RX, bytes }, icedDecoder(), {
        nameOf: (address) => (address === RX - 0x40 ? "add" : undefined),
      }),
      options,
    );

  test("has arrows for jumps that stay inside, and the names of targets", () => {
    assert.equal(
      listing(CODE),
      [
        "╭──►7f00a0001040  48 85 ff              test rdi, rdi",
        "│ ╭─7f00a0001043  74 05                 je 0x7f00a000104a",
        "│ │ 7f00a0001045  e8 b6 ff ff ff        call 0x7f00a0001000  ; add",
        "│ ╰►7f00a000104a  48 8b 05 10 00 00 00  mov rax, [0x7f00a0001061]",
        "╰───7f00a0001051  eb ed                 jmp 0x7f00a0001040",
        "    7f00a0001053  c3                    ret",
        "",
      ].join("\n"),
    );
  });

  test("breaks long instructions, and leaves colours out unless they are asked for", () => {
    const long = Uint8Array.of(0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8);
    const text = listing(long, { bytesPerLine: 4 });
    assert.deepEqual(text.split("\n").slice(1, 3), ["              03 04 05 06", "              07 08"]);
    assert.ok(!text.includes("\u001b"));
    assert.ok(listing(long, { color: true }).includes("\u001b[33m7f00a0001040\u001b[39m"));
  });

  test("arrows that cross share no lane, and there are at most eight side by side", () => {
    // Twenty jumps, each to one instruction further on, overlap.
    const bytes = Uint8Array.from({ length: 60 }, (_, at) => (at < 40 ? (at % 2 === 0 ? 0xeb : 18) : 0x90));
    const gutters = listing(bytes)
      .trimEnd()
      .split("\n")
      .map((line) => line.slice(0, line.indexOf("7f00")));
    assert.ok(gutters.every((gutter) => gutter.length === 16));
    assert.ok(gutters.some((gutter) => gutter.endsWith("►")));
  });
});

test("code is decoded to its last byte, by both alike", async () => {
  const code = { rx: RX, bytes: callAndAddOne(0x7f00_0000_0000) };
  const lengths = (decoder: InstructionDecoder): number[] =>
    disassemble(code, decoder).map(({ bytes }) => bytes.length);
  assert.deepEqual(lengths(icedDecoder()), lengths(await capstoneDecoder("x64")));
  assert.equal(
    lengths(icedDecoder()).reduce((sum, length) => sum + length),
    code.bytes.length,
  );
});
