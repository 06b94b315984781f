/**
 * Stores to memory that other processors read, or run, at the same time. JavaScript cannot promise that a store of several
 * bytes is one access: engines make it so for Atomics, but only in views of native memory, which some runtimes refuse and a
 * shared allocator must not have. So a routine in machine code makes it.
 *
 * One access it is because of its alignment:
 * - x86-64: a naturally aligned store of 1, 2, 4 or 8 bytes is atomic (Intel SDM vol. 3A, 9.1.1 "Guaranteed Atomic
 *   Operations"; AMD APM vol. 2, 7.3.2).
 * - AArch64: so is one through a general-purpose register (Arm ARM, B2.2.1 "Requirements for single-copy atomicity"). It is
 *   a store-release: whoever sees it sees all that was written before it.
 */
import { JitError } from "../base/errors.ts";
import type { ProcessorName } from "../base/platform.ts";
import type { Address, Ffi, NativeFunction, NativeSignature } from "../ffi/contract.ts";
import { refusedCall } from "../ffi/guard.ts";
import type { VirtualMemory } from "./contract.ts";
import { publish, type PublishingMemory } from "./publish.ts";

/** x86-64, System V: rdi = where, rsi = the bytes, edx = how many. */
const X64_SYSTEM_V = Uint8Array.of(
  ...[0x83, 0xfa, 0x04], //       cmp   edx, 4
  ...[0x74, 0x14], //             je    four
  ...[0x77, 0x17], //             ja    eight
  ...[0x83, 0xfa, 0x02], //       cmp   edx, 2
  ...[0x74, 0x06], //             je    two
  ...[0x0f, 0xb6, 0x06], //       movzx eax, byte [rsi]
  ...[0x88, 0x07, 0xc3], //       mov   [rdi], al;  ret
  ...[0x0f, 0xb7, 0x06], // two:  movzx eax, word [rsi]
  ...[0x66, 0x89, 0x07, 0xc3], // mov   [rdi], ax;  ret
  ...[0x8b, 0x06], //       four: mov   eax, [rsi]
  ...[0x89, 0x07, 0xc3], //       mov   [rdi], eax; ret
  ...[0x48, 0x8b, 0x06], // eight: mov  rax, [rsi]
  ...[0x48, 0x89, 0x07, 0xc3], // mov   [rdi], rax; ret
);

/** x86-64, Windows: rcx = where, rdx = the bytes, r8d = how many. */
const X64_WINDOWS = Uint8Array.of(
  ...[0x41, 0x83, 0xf8, 0x04], // cmp   r8d, 4
  ...[0x74, 0x15], //             je    four
  ...[0x77, 0x18], //             ja    eight
  ...[0x41, 0x83, 0xf8, 0x02], // cmp   r8d, 2
  ...[0x74, 0x06], //             je    two
  ...[0x0f, 0xb6, 0x02], //       movzx eax, byte [rdx]
  ...[0x88, 0x01, 0xc3], //       mov   [rcx], al;  ret
  ...[0x0f, 0xb7, 0x02], // two:  movzx eax, word [rdx]
  ...[0x66, 0x89, 0x01, 0xc3], // mov   [rcx], ax;  ret
  ...[0x8b, 0x02], //       four: mov   eax, [rdx]
  ...[0x89, 0x01, 0xc3], //       mov   [rcx], eax; ret
  ...[0x48, 0x8b, 0x02], // eight: mov  rax, [rdx]
  ...[0x48, 0x89, 0x01, 0xc3], // mov   [rcx], rax; ret
);

/** AArch64: x0 = where, x1 = the bytes, w2 = how many. */
const ARM64 = new Uint8Array(
  Uint32Array.of(
    0x7100_105f, //        cmp   w2, #4
    0x5400_0140, //        b.eq  four
    0x5400_0188, //        b.hi  eight
    0x7100_085f, //        cmp   w2, #2
    0x5400_0080, //        b.eq  two
    ...[0x3940_0023, 0x089f_fc03, 0xd65f_03c0], //        ldrb w3, [x1]; stlrb w3, [x0]; ret
    ...[0x7940_0023, 0x489f_fc03, 0xd65f_03c0], // two:   ldrh w3, [x1]; stlrh w3, [x0]; ret
    ...[0xb940_0023, 0x889f_fc03, 0xd65f_03c0], // four:  ldr  w3, [x1]; stlr  w3, [x0]; ret
    ...[0xf940_0023, 0xc89f_fc03, 0xd65f_03c0], // eight: ldr  x3, [x1]; stlr  x3, [x0]; ret
  ).buffer,
);

const SIGNATURE: NativeSignature = { parameters: ["pointer", "buffer", "u32"], result: "void" };

/** The routine for a processor; undefined where there is none. */
function codeFor(processor: ProcessorName, isWindows: boolean): Uint8Array | undefined {
  if (processor === "arm64") return ARM64;
  if (processor !== "x64") return undefined;
  return isWindows ? X64_WINDOWS : X64_SYSTEM_V;
}

/** What the routine is put into memory with. */
type RoutineMemory = PublishingMemory & Pick<VirtualMemory, "info">;

/** The stores of one thread. The routine is made with the first one, in a page that stays until the process ends. */
export class AtomicStores {
  readonly #ffi: Pick<Ffi, "callable">;
  readonly #code: Uint8Array | undefined;
  /** The bytes to be stored. Not the caller's array: what it refers to may be given away, or be another thread's too. */
  readonly #bytes = new Uint8Array(new ArrayBuffer(8));
  #call: NativeFunction | undefined;

  constructor(ffi: Pick<Ffi, "callable">, processor: ProcessorName, isWindows: boolean) {
    this.#ffi = ffi;
    this.#code = codeFor(processor, isWindows);
  }

  /**
   * Stores all of `bytes`, which are 1, 2, 4 or 8, at a multiple of their number.
   * @throws JitError `ERR_FEATURE_NOT_ENABLED` on an unknown processor; the system's refusal of a page for the routine
   */
  store(memory: RoutineMemory, address: Address, bytes: Uint8Array): void {
    const call = (this.#call ??= this.#make(memory));
    this.#bytes.set(bytes);
    try {
      call(address, this.#bytes, bytes.length);
    } catch (error) {
      throw refusedCall(error);
    }
  }

  #make(memory: RoutineMemory): NativeFunction {
    const code = this.#code;
    if (code === undefined) throw cannotStore();
    const page = new Uint8Array(memory.info().pageGranularity);
    page.set(code);
    return this.#ffi.callable(publish(memory, page), SIGNATURE).call;
  }
}

/** The refusal where there is no routine. */
export function cannotStore(): JitError {
  return new JitError(
    "ERR_FEATURE_NOT_ENABLED",
    "Cannot store in one access: this library has no routine for it on this processor",
  );
}
