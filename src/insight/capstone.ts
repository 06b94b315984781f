/**
 * `jit-allocator/capstone`: disassembly of x86-64 and AArch64 by `@alexaltea/capstone-js`, which the program installs beside
 * this package.
 */
import loadCapstone from "@alexaltea/capstone-js";
import { platform } from "../base/platform.ts";
import { JitError } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";
import type { DecodedInstruction, InstructionDecoder } from "./disassembly.ts";

/** The processors. */
export type CapstoneProcessor = "x64" | "arm64";

/** Mnemonics that name an address in the code: jumps, and others. */
const JUMPS: Readonly<Record<CapstoneProcessor, RegExp>> = {
  x64: /^(?:j|loop)/,
  arm64: /^(?:b|b\..*|cbn?z|tbn?z)$/,
};
const OTHERS: Readonly<Record<CapstoneProcessor, RegExp>> = {
  x64: /^call$/,
  arm64: /^(?:bl|adrp?)$/,
};

/** The address at the end of the operands. */
const TARGET = /(?:^|#| )(0x[0-9a-f]+)$/;
/** An operand of x86-64 that is addressed from the next instruction on. */
const RELATIVE = /\[rip ([+-]) (0x[0-9a-f]+|\d+)\]/;

/**
 * Loads capstone, and makes a decoder. What capstone holds lives as long as the program.
 * @param processor default: that of this machine
 * @throws JitError `ERR_INVALID_ARGUMENT` for any other processor
 * @example
 * const decoder = await capstoneDecoder();
 * console.log(formatInstructions(disassemble(span, decoder)));
 */
export async function capstoneDecoder(processor: string = platform.processor): Promise<InstructionDecoder> {
  if (processor !== "x64" && processor !== "arm64") {
    throw new JitError(
      "ERR_INVALID_ARGUMENT",
      `Cannot disassemble code of ${JSON.stringify(processor)}: the processors are x64 and arm64`,
    );
  }
  const capstone = await loadCapstone();
  const handle =
    processor === "x64"
      ? new capstone.Capstone(capstone.ARCH_X86, capstone.MODE_64)
      : new capstone.Capstone(capstone.ARCH_ARM64, capstone.MODE_ARM);
  const decodeAll = (bytes: Uint8Array, address: Address): readonly CapstoneInstruction[] => {
    try {
      return handle.disasm(bytes, address);
    } catch {
      return []; // it throws where not even the first instruction is one
    }
  };
  return {
    decode: (bytes, address) =>
      decodeAll(bytes, address).map((instruction) => toDecoded(instruction, processor)),
  };
}

/** What capstone finds. */
interface CapstoneInstruction {
  readonly address: bigint;
  readonly size: number;
  readonly mnemonic: string;
  readonly op_str: string;
}

function toDecoded(
  { address, size, mnemonic, op_str: operands }: CapstoneInstruction,
  processor: CapstoneProcessor,
): DecodedInstruction {
  const isJump = JUMPS[processor].test(mnemonic);
  const named = isJump || OTHERS[processor].test(mnemonic) ? TARGET.exec(operands)?.[1] : undefined;
  const [, sign, distance] = (processor === "x64" ? RELATIVE.exec(operands) : null) ?? [];
  const next = Number(address) + size;
  const relative = distance === undefined ? undefined : next + (sign === "-" ? -1 : 1) * Number(distance);
  return {
    length: size,
    text: operands === "" ? mnemonic : `${mnemonic} ${operands}`,
    target: named === undefined ? relative : Number(named),
    isJump: isJump && named !== undefined,
  };
}
