/** `jit-allocator/iced`: disassembly of x86-64 by `iced-x86`, which the program installs beside this package. */
import { Decoder, DecoderOptions, FlowControl, Formatter, FormatterSyntax } from "iced-x86";
import type { Address } from "../ffi/contract.ts";
import type { DecodedInstruction, InstructionDecoder } from "./disassembly.ts";

/** The syntaxes of iced. */
const SYNTAXES = {
  intel: FormatterSyntax.Intel,
  gas: FormatterSyntax.Gas,
  masm: FormatterSyntax.Masm,
  nasm: FormatterSyntax.Nasm,
} as const;

/** How iced formats. */
export interface IcedOptions {
  /** Default intel. */
  readonly syntax?: keyof typeof SYNTAXES;
}

/**
 * A decoder of x86-64.
 * @example
 * console.log(formatInstructions(disassemble(span, icedDecoder({ syntax: "gas" }))));
 */
export function icedDecoder({ syntax = "intel" }: IcedOptions = {}): InstructionDecoder {
  return { decode: (bytes, address) => decode(bytes, address, SYNTAXES[syntax]) };
}

function* decode(
  bytes: Uint8Array,
  address: Address,
  syntax: FormatterSyntax,
): Generator<DecodedInstruction> {
  // What WebAssembly holds is freed by hand.
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  const formatter = new Formatter(syntax);
  try {
    formatter.hexPrefix = "0x";
    formatter.hexSuffix = "";
    formatter.uppercaseHex = false;
    formatter.branchLeadingZeros = false;
    formatter.showBranchSize = false;
    formatter.spaceAfterOperandSeparator = true;
    decoder.ip = BigInt(address);
    while (decoder.canDecode) {
      const instruction = decoder.decode();
      const { length, flowControl } = instruction;
      const isInvalid = instruction.isInvalid;
      const branch = instruction.nearBranchTarget;
      const target =
        branch !== 0n ? branch : instruction.isIpRelMemoryOperand ? instruction.ipRelMemoryAddress : 0n;
      const text = isInvalid ? "(bad)" : formatter.format(instruction);
      instruction.free();
      yield {
        length,
        text,
        target: isInvalid || target === 0n ? undefined : Number(target),
        isJump:
          branch !== 0n &&
          (flowControl === FlowControl.UnconditionalBranch || flowControl === FlowControl.ConditionalBranch),
      };
    }
  } finally {
    formatter.free();
    decoder.free();
  }
}
