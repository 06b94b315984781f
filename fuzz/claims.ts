/**
 * Who has which bytes, across all threads and in shared memory: an allocation claims its granules one by one, and finds
 * out there and then if somebody else has one of them. Knows nothing of the allocator's own books.
 */
import assert from "node:assert/strict";
import { formatAddress } from "../src/base/errors.ts";

/** What is claimed at a time: no allocation begins or ends anywhere else. */
const GRANULE_BYTES = 64;
/** The addresses are kept in chunks of as much as the smallest block has, since blocks lie anywhere. */
const CHUNK_BYTES = 64 * 1024;
const CHUNK_GRANULES = CHUNK_BYTES / GRANULE_BYTES;
/** Half a GiB of addresses in one run: blocks come and go, but mostly at the same places. */
const CHUNKS = 8192;
/** Any odd number whose bits are mixed: neighbouring chunks are not to be neighbours in the table. */
const SCATTER = 0x9e3779b1;

/** A table of the granules that are claimed, which every thread has the same of. */
export class Claims {
  /** The chunk numbers, found by probing; 0 = no chunk yet. They are only ever added, so that no lock is needed. */
  readonly #chunks: Int32Array;
  /** The claim on each granule of each chunk; 0 = none. */
  readonly #owners: Int32Array;

  /** @param buffer what {@link create} made */
  constructor(buffer: SharedArrayBuffer) {
    this.#chunks = new Int32Array(buffer, 0, CHUNKS);
    this.#owners = new Int32Array(buffer, 4 * CHUNKS);
  }

  /** An empty table. */
  static create(): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * CHUNKS * (1 + CHUNK_GRANULES));
  }

  /** Claims the bytes. @throws AssertionError where somebody has some of them */
  claim(rx: number, sizeBytes: number, claim: number): void {
    this.#replace(rx, sizeBytes, 0, claim);
  }

  /** Gives the bytes up; called before the allocator is told, after which they may be anybody's. */
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
    const key = chunk | 0; // addresses have 48 bits, so 32 are left
    const start = (Math.imul(key, SCATTER) >>> 0) % CHUNKS;
    for (let tries = 0; tries < CHUNKS; tries++) {
      const slot = (start + tries) % CHUNKS;
      const found = Atomics.load(this.#chunks, slot) || Atomics.compareExchange(this.#chunks, slot, 0, key);
      if (found === 0 || found === key) return slot;
    }
    throw new Error("The table of claims is full: the run had blocks at too many places");
  }
}
