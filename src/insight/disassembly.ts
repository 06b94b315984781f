/** Machine code as instructions, by a decoder of the caller's choice: `jit-allocator/iced`, `jit-allocator/capstone`, or any other. */
import { JitError } from "../base/errors.ts";
import type { Span } from "../engine/span.ts";
import type { Address } from "../ffi/contract.ts";

/** One instruction, as a decoder finds it. */
export interface DecodedInstruction {
  /** Bytes, 1 or more. */
  readonly length: number;
  /** In any syntax; without the bytes and the address. */
  readonly text: string;
  /** The address that the instruction names: of a jump or a call, or of data beside the code. */
  readonly target?: Address | undefined;
  /** Whether it may go on at its target: a jump, but no call. */
  readonly isJump?: boolean;
}

/** Decodes machine code. */
export interface InstructionDecoder {
  /**
   * Decodes one instruction after the other. Bytes that are none may be left out at the end, or shown in any way.
   * @param address of the first byte
   */
  decode(bytes: Uint8Array, address: Address): Iterable<DecodedInstruction>;
}

/** An instruction at its own address. */
export interface Instruction extends DecodedInstruction {
  /** The address at which it runs. */
  readonly address: Address;
  /** A copy. */
  readonly bytes: Uint8Array;
  /** What lies at {@link DecodedInstruction.target}: the name of other code, of a veneer or of a native function. */
  readonly targetName?: string | undefined;
}

/** Machine code with its address: what `JitRuntime.codeOf` returns, or bytes that are about to be placed. */
export interface CodeBytes {
  /** The address of the first byte. */
  readonly rx: Address;
  /** The code, and nothing else. */
  readonly bytes: Uint8Array;
}

/** How to read code. */
export interface DisassemblyOptions {
  /** The name of what lies at an address; undefined where it has none. */
  readonly nameOf?: (address: Address) => string | undefined;
}

/**
 * Decodes the code of a span, or any bytes. Addresses are those at which the code runs. Bytes that the decoder leaves out at
 * the end are shown as `(bad)`.
 *
 * A span is a multiple of the granularity: what follows the code in it is decoded too. `runtime.codeOf(span)` has just the
 * code.
 *
 * @param code a live span, or bytes and the address of the first
 * @throws JitError `ERR_RELEASED`, `ERR_INVALID_ARGUMENT` (also where the decoder goes beyond the code, or does not advance)
 * @example
 * import { icedDecoder } from "jit-allocator/iced";
 * for (const { address, text } of disassemble(span, icedDecoder())) console.log(address.toString(16), text);
 */
export function disassemble(
  code: Span | CodeBytes,
  decoder: InstructionDecoder,
  { nameOf }: DisassemblyOptions = {},
): Instruction[] {
  const { rx } = code;
  const bytes = "bytes" in code ? code.bytes : code.read();
  if (!Number.isSafeInteger(rx) || !(bytes instanceof Uint8Array))
    throw new JitError("ERR_INVALID_ARGUMENT", "Cannot disassemble: the code has no address, or no bytes");
  const instructions: Instruction[] = [];
  const add = (offset: number, decoded: DecodedInstruction): void => {
    const { target, length } = decoded;
    const targetName = target === undefined ? undefined : nameOf?.(target);
    const own = bytes.slice(offset, offset + length);
    instructions.push({ ...decoded, address: rx + offset, bytes: own, targetName });
  };
  let offset = 0;
  for (const decoded of decoder.decode(bytes, rx)) {
    const { length } = decoded;
    if (!Number.isInteger(length) || length < 1 || offset + length > bytes.length) {
      throw new JitError(
        "ERR_INVALID_ARGUMENT",
        `Cannot disassemble: the decoder found ${length} bytes at offset ${offset} of ${bytes.length}`,
      );
    }
    add(offset, decoded);
    offset += length;
  }
  for (; offset < bytes.length; offset++) add(offset, { length: 1, text: "(bad)" });
  return instructions;
}
