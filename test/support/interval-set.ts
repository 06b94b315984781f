/** A second structure that knows what is live, so that an overlap is seen where it arises. */
import assert from "node:assert/strict";

/** Bytes of the smallest thing two allocations could share. */
export const CELL_BYTES = 64;
/** Bytes that one page of the table stands for: the processor's largest common page, so that blocks need few. */
const PAGE_BYTES = 2 * 1024 * 1024;

/** Who owns each cell of 64 bytes, by address: as naive as can be, and independent of where blocks are. */
export class IntervalSet {
  /** Owner + 1 of each cell, 0 = nobody, by page. */
  readonly #pages = new Map<number, Uint32Array>();
  #cellCount = 0;

  /** Bytes that are taken. */
  get sizeBytes(): number {
    return this.#cellCount * CELL_BYTES;
  }

  /** Takes `[address, address + sizeBytes)` for `owner` (an integer from 0); throws where any of it is taken. */
  add(address: number, sizeBytes: number, owner: number): void {
    this.#replace(address, sizeBytes, 0, owner + 1);
    this.#cellCount += sizeBytes / CELL_BYTES;
  }

  /** Gives back `[address, address + sizeBytes)`; throws where any of it is not `owner`'s. */
  remove(address: number, sizeBytes: number, owner: number): void {
    this.#replace(address, sizeBytes, owner + 1, 0);
    this.#cellCount -= sizeBytes / CELL_BYTES;
  }

  #replace(address: number, sizeBytes: number, from: number, to: number): void {
    assert.ok(
      address % CELL_BYTES === 0 && sizeBytes % CELL_BYTES === 0,
      `[${address}, +${sizeBytes}) is aligned`,
    );
    for (let cell = address; cell < address + sizeBytes; cell += CELL_BYTES) {
      const page = this.#page(Math.floor(cell / PAGE_BYTES));
      const index = (cell % PAGE_BYTES) / CELL_BYTES;
      const owner = page[index];
      if (owner !== from)
        assert.fail(`${cell} in [${address}, +${sizeBytes}): owner ${owner}, not ${from} (0 = nobody)`);
      page[index] = to;
    }
  }

  #page(number: number): Uint32Array {
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = new Uint32Array(PAGE_BYTES / CELL_BYTES);
      this.#pages.set(number, page);
    }
    return page;
  }
}
