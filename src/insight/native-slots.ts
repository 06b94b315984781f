/** Native memory in small pieces that stays where it is: for what a debugger reads. Never given back to the system. */
import type { Address } from "../ffi/contract.ts";
import type { VirtualMemory } from "../vm/contract.ts";

/** What is asked of the system at once: 256 functions of usual size. */
const CHUNK_BYTES = 256 * 1024;
/** log2 of the smallest piece: an object file with a name of up to some 300 characters. */
const SMALLEST_SHIFT = 10;

/** A piece of native memory. */
export interface Slot {
  readonly address: Address;
  readonly sizeBytes: number;
}

/** Hands out pieces of a power of two, and takes them back for the next of the same size. */
export class NativeSlots {
  readonly #memory: VirtualMemory;
  /** By log2 of the size. */
  readonly #free: Slot[][] = [];
  #chunk = 0;
  #chunkLeft = 0;

  constructor(memory: VirtualMemory) {
    this.#memory = memory;
  }

  /** @throws JitError `ERR_OUT_OF_MEMORY` */
  take(sizeBytes: number): Slot {
    const shift = Math.max(SMALLEST_SHIFT, 32 - Math.clz32(sizeBytes - 1));
    const known = this.#free[shift]?.pop();
    if (known !== undefined) return known;
    const size = 2 ** shift;
    if (size > CHUNK_BYTES) return { address: this.#map(size), sizeBytes: size };
    if (this.#chunkLeft < size) {
      // What is left of the chunk before stays unused.
      this.#chunk = this.#map(CHUNK_BYTES);
      this.#chunkLeft = CHUNK_BYTES;
    }
    this.#chunkLeft -= size;
    return { address: this.#chunk + this.#chunkLeft, sizeBytes: size };
  }

  give(slot: Slot): void {
    (this.#free[31 - Math.clz32(slot.sizeBytes)] ??= []).push(slot);
  }

  /** Copies bytes to an address within a piece. */
  write(address: Address, bytes: Uint8Array): void {
    this.#memory.copyIn(address, bytes, bytes.length);
  }

  #map(sizeBytes: number): Address {
    return this.#memory.alloc(sizeBytes, { read: true, write: true });
  }
}
