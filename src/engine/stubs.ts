/**
 * Stubs: machine code through which any number of callables share one native function.
 *
 * Making a native function takes a foreign function interface 3 to 20 µs. So a thread makes one for each signature, bound
 * to a stub, which jumps to the address that stands in a cell of data. A callable stores the address of its code there
 * and calls the native function: arguments and return address are where the code expects them.
 *
 * ```text
 * cell   ┌ a double: 1 + address × 2⁻⁵² ┐   memory of the JavaScript heap, readable and writable, never executable
 *        └──────────────▲───────────────┘
 * stub   ┌──────────────┴──────────────────────────────────────┐   readable and executable, never writable
 *        │ the cell without the bits of 1.0: jump there        │
 *        └─────────────────────────────────────────────────────┘
 * ```
 *
 * The address is the fraction of a double, so that one store of a number puts it there: two stores of 32 bits would each
 * be as fast, but the processor could not forward them to the one load of 64. The exponent makes the double a normal
 * number. The bits of an address alone would be a denormal one, which a process in flush-to-zero mode reads as 0.
 *
 * On x86-64 one instruction for each register of integers stands before a stub. It takes the integer from a register of
 * doubles: interfaces that call functions of doubles faster than those of integers enter there.
 *
 * A thread's page of stubs stays mapped until the process ends, one page for 64 signatures: nothing tells when the last
 * callable can no longer run. Stubs themselves are used again when no callable can reach them.
 */
import { JitError } from "../base/errors.ts";
import type { ProcessorName } from "../base/platform.ts";
import type { Address, Ffi } from "../ffi/contract.ts";
import type { VirtualMemory } from "../vm/contract.ts";
import { publish, type PublishingMemory } from "../vm/publish.ts";

/** A stub, and the cell that it jumps through. */
export interface Stub {
  /** The address of its code. */
  readonly address: Address;
  /**
   * One element, an address as {@link cellValue} writes it. Whatever calls the stub must hold this very object: when it is
   * collected, the stub is given to another signature.
   */
  readonly cell: Float64Array;
  /** The address at which the stub takes `count` integers as doubles, in System V's registers; undefined where it cannot. */
  takingDoubles(count: number): Address | undefined;
}

/** The number that stands for an address (an integer from 0 to 2**52 − 1) in a cell. */
export function cellValue(address: Address): number {
  return 1 + address * 2 ** -52;
}

/** Bytes of a stub with what stands before it and what fills it up: a cache line. */
const STUB_BYTES = 64;
/** Where the stub itself begins. */
const CODE_AT = 32;
/** The stubs of a page of 4 KiB. Larger pages have no more: few threads have more signatures. */
const STUBS_PER_PAGE = 64;
const CELL_BYTES = Float64Array.BYTES_PER_ELEMENT;

/** A stub's code: instructions, and where the address of the cell stands among them, in bytes. */
interface StubCode {
  readonly code: Uint8Array;
  readonly cellAt: number;
  /** Takes an integer from a register of doubles: of the last register first, each in as many bytes. */
  readonly conversions: readonly (readonly number[])[];
  /** One byte after the other, they trap. */
  readonly filler: Uint8Array;
}

/**
 * r10 and r11 are what both calling conventions let a call change on its way to the callee, and no argument stands in them.
 * Where the jump is not predicted, each instruction between the cell and the jump counts: one addition, not two shifts.
 */
const X64: StubCode = {
  code: Uint8Array.of(
    ...[0x49, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0], // mov r11, the cell
    ...[0x49, 0xba, 0, 0, 0, 0, 0, 0, 0x10, 0xc0], // mov r10, minus the bits of 1.0
    ...[0x4d, 0x03, 0x13], //                   add r10, [r11]
    ...[0x41, 0xff, 0xe2], //                   jmp r10
  ),
  cellAt: 2,
  // The registers of System V. A 64-bit integer has the low bits of all narrower ones, and the extension that callees expect.
  conversions: [
    [0xf2, 0x4c, 0x0f, 0x2c, 0xcd], // cvttsd2si r9, xmm5
    [0xf2, 0x4c, 0x0f, 0x2c, 0xc4], // cvttsd2si r8, xmm4
    [0xf2, 0x48, 0x0f, 0x2c, 0xcb], // cvttsd2si rcx, xmm3
    [0xf2, 0x48, 0x0f, 0x2c, 0xd2], // cvttsd2si rdx, xmm2
    [0xf2, 0x48, 0x0f, 0x2c, 0xf1], // cvttsd2si rsi, xmm1
    [0xf2, 0x48, 0x0f, 0x2c, 0xf8], // cvttsd2si rdi, xmm0
  ],
  filler: Uint8Array.of(0xcc),
};

/** x16 is the register that linkers' veneers use; a jump through it passes for a call where branch targets are checked. */
const ARM64: StubCode = {
  code: new Uint8Array(
    Uint32Array.of(
      0x5800_0090, // ldr  x16, the cell: the 8 bytes after the code
      0xf940_0210, // ldr  x16, [x16]
      0xd340_ce10, // ubfx x16, x16, #0, #52
      0xd61f_0200, // br   x16
      ...[0, 0],
    ).buffer,
  ),
  cellAt: 16,
  conversions: [],
  filler: Uint8Array.of(0x00, 0x00, 0x20, 0xd4), // brk #0
};

const STUB_CODES: Readonly<Record<ProcessorName, StubCode | undefined>> = {
  x64: X64,
  arm64: ARM64,
  other: undefined,
};

/** A stub that nobody uses. */
interface FreeStub {
  readonly address: Address;
  readonly cells: ArrayBuffer;
  readonly index: number;
}

/** What stubs are made with. */
export type StubMemory = PublishingMemory & Pick<VirtualMemory, "info">;

/** The stubs of one thread. */
export class Stubs {
  readonly #memory: StubMemory;
  readonly #ffi: Pick<Ffi, "addressOf">;
  readonly #code: StubCode | undefined;
  readonly #free: FreeStub[] = [];
  readonly #unreachable = new FinalizationRegistry<FreeStub>((stub) => this.#free.push(stub));
  #isRefused = false;

  constructor(memory: StubMemory, ffi: Pick<Ffi, "addressOf">, processor: ProcessorName) {
    this.#memory = memory;
    this.#ffi = ffi;
    this.#code = STUB_CODES[processor];
  }

  /** A stub that nothing else uses; undefined where this process can have none: the caller has another way. */
  take(): Stub | undefined {
    if (this.#free.length === 0) this.#makePage();
    const free = this.#free.pop();
    if (free === undefined) return undefined;
    const { address, cells, index } = free;
    const cell = new Float64Array(cells, index * CELL_BYTES, 1);
    this.#unreachable.register(cell, free);
    const conversions = this.#code?.conversions ?? [];
    const takingDoubles = (count: number): Address | undefined =>
      count > conversions.length
        ? undefined
        : address - conversions.slice(conversions.length - count).flat().length;
    return { address, cell, takingDoubles };
  }

  #makePage(): void {
    if (this.#code === undefined || this.#isRefused) return;
    // Not a typed array with memory of its own: engines keep that of short ones in their heaps, and may move it.
    const cells = new ArrayBuffer(STUBS_PER_PAGE * CELL_BYTES);
    try {
      const { pageGranularity } = this.#memory.info();
      const code = pageOf(this.#code, this.#ffi.addressOf(cells), pageGranularity);
      const address = publish(this.#memory, code);
      // The last one is taken first.
      for (let index = STUBS_PER_PAGE - 1; index >= 0; index--)
        this.#free.push({ address: address + index * STUB_BYTES + CODE_AT, cells, index });
    } catch (error) {
      if (!(error instanceof JitError)) throw error;
      // Where there was no room there may be some later; a policy stays.
      this.#isRefused = error.code !== "ERR_OUT_OF_MEMORY";
    }
  }
}

/** A page of stubs, each with its own cell of those that begin at `cells`. */
function pageOf(
  { code, cellAt, conversions, filler }: StubCode,
  cells: Address,
  sizeBytes: number,
): Uint8Array {
  const page = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes; at += filler.length) page.set(filler, at);
  const view = new DataView(page.buffer);
  for (let index = 0; index < STUBS_PER_PAGE; index++) {
    const codeAt = index * STUB_BYTES + CODE_AT;
    page.set(conversions.flat(), codeAt - conversions.flat().length);
    page.set(code, codeAt);
    view.setBigUint64(codeAt + cellAt, BigInt(cells + index * CELL_BYTES), true);
  }
  return page;
}
