/**
 * The stretch of a range that was made usable along with a block before it, and that no block has yet. The next block begins
 * there, and then needs no call of the system, or one for the rest. There is at most one, shorter than a step.
 */
import type { Address } from "../ffi/contract.ts";

/** A part of a range that a block needs and that is still to be made usable. */
export interface MissingPart {
  readonly start: Address;
  readonly end: Address;
}

/** The ready stretch of one range. */
export class ReadyStretch {
  /** Where it begins, and where it ends; the same where there is none. */
  start: Address = 0;
  end: Address = 0;

  get isEmpty(): boolean {
    return this.start === this.end;
  }

  overlaps(start: Address, end: Address): boolean {
    return !this.isEmpty && start < this.end && this.start < end;
  }

  /** Forgets the stretch: it is no longer usable. */
  clear(): void {
    this.start = 0;
    this.end = 0;
  }

  /**
   * The parts of a new block that are not ready. The last one reaches to `stepEnd` where that is worth it.
   * @param stepEnd up to where more can be made usable with the block
   */
  missing(start: Address, end: Address, stepEnd: Address): MissingPart[] {
    const isApart = this.isEmpty || end <= this.start || start >= this.end;
    if (isApart) return [{ start, end: this.isEmpty ? stepEnd : end }];
    const parts = [
      { start, end: this.start },
      { start: this.end, end: end > this.end ? stepEnd : end },
    ];
    return parts.filter((part) => part.start < part.end);
  }

  /** Notes that a block was made of what {@link missing} has told, and of what was ready. */
  use(start: Address, end: Address, stepEnd: Address): void {
    if (!this.isEmpty && (end <= this.start || start >= this.end)) return;
    this.end = this.isEmpty || end > this.end ? stepEnd : this.end;
    this.start = end;
  }
}
