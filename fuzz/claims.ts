/**
 * A table in shared memory of the bytes that each thread has. An allocation claims its granules one by one, and fails at
 * once where another allocation has one of them. The table does not depend on the allocator's own metadata.
 */
import assert from "node:assert/strict";
import { formatAddress } from "../src/base/errors.ts";

/** Bytes that one claim covers: every allocation begins and ends at a multiple of it. */
const GRANULE_BYTES = 64;
/** Addresses are kept in chunks of the smallest block's size, since blocks lie anywhere. */
const CHUNK_BYTES = 64 * 1024;
const CHUNK_GRANULES = CHUNK_BYTES / GRANULE_BYTES;
/** Chunks for half a GiB of addresses in one run: blocks come and go, but mostly at the same addresses. */
const CHUNKS = 8192;
/** An odd number with mixed bits, so that neighbouring chunks are not neighbours in the table. */
const SCATTER = 0x9e3779b1;

/** A table of the claimed granules, which all threads share. */
export class Claims {
  /**
   * The chunk numbers, found by probing; 0 = no chunk yet. They are only added, never removed, so that no lock is needed.
   */
  readonly #chunks: Int32Array;
  /** The claim on each granule of each chunk; 0 = none. */
  readonly #owners: Int32Array;

  /** @param buffer made by {@link create} */
  constructor(buffer: SharedArrayBuffer) {
    this.#chunks = new Int32Array(buffer, 0, CHUNKS);
    this.#owners = new Int32Array(buffer, 4 * CHUNKS);
  }

  /** An empty table. */
  static create(): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * CHUNKS * (1 + CHUNK_GRANULES));
  }

  /** Claims the bytes. @throws AssertionError where some of them are claimed already */
  claim(rx: number, sizeBytes: number, claim: number): void {
    this.#replace(rx, sizeBytes, 0, claim);
  }

  /** Gives the bytes up. Called before they are released, since any thread may have them after that. */
  free(rx: number, sizeBytes: number, claim: number): void {
    this.#replace(rx, sizeBytes, claim, 0);
  }

  #replace(rx: number, sizeBytes: number, before: number, after: number): void {
    assert.equal(rx % GRANULE_BYTES, 0, "an allocation begins with a granule");
    for (let address = rx; address < rx + sizeBytes; address += GRANULE_BYTES) {
      const inChunk = Math.floor((address % CHUNK_BYTES) / GRANULE_BYTES);
      const index = this.#chunkOf(Math.floor(address / CHUNK_BYTES)) * CHUNK_GRANULES + inChunk;
      const found = Atomics.compareExchange(this.#owners, index, before, after);
      if (found === before) continue;
      assert.fail(
        `${formatAddress(address)} of [${formatAddress(rx)}, +${sizeBytes}) has claim ${found}, not ${before}`,
      );
    }
  }

  #chunkOf(chunk: number): number {
    const key = chunk | 0; // addresses have 48 bits, so a chunk's number has 32
    const start = (Math.imul(key, SCATTER) >>> 0) % CHUNKS;
    for (let tries = 0; tries < CHUNKS; tries++) {
      const slot = (start + tries) % CHUNKS;
      const found = Atomics.load(this.#chunks, slot) || Atomics.compareExchange(this.#chunks, slot, 0, key);
      if (found === 0 || found === key) return slot;
    }
    throw new Error("The table of claims is full: the run had blocks at too many places");
  }
}
