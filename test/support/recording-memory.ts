/** Simulated memory that remembers which ranges were flushed. */
import type { Address } from "../../src/ffi/contract.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";

/** A flush that was asked for. */
export interface Flush {
  readonly address: Address;
  readonly sizeBytes: number;
}

/** {@link SimulatedMemory}, and every flush of it, in order. It refuses a flush of rw by itself. */
export class RecordingMemory extends SimulatedMemory {
  readonly flushes: Flush[] = [];

  override flushInstructionCache(address: Address, sizeBytes: number): void {
    super.flushInstructionCache(address, sizeBytes);
    this.flushes.push({ address, sizeBytes });
  }
}
