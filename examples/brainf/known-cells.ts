/** Cells around the pointer, from `lowest` to `highest`, relative to it; the pointer's own is always among them. */
interface Cells {
  readonly lowest: number;
  readonly highest: number;
}

/** The pointer is on the tape wherever code begins to run. */
const POINTER_ONLY: Cells = { lowest: 0, highest: 0 };

/**
 * Follows the code of a function while it is emitted, and knows which cells are on the tape for sure: a Guard that stays
 * among them needs no code. What lies between the cells known and the pointer is on the tape as well.
 */
export class KnownCells {
  #cells = POINTER_ONLY;
  /** What is known on the way to an instruction ahead, on every way there so far. */
  readonly #ahead = new Map<number, Cells>();

  /** Called where the code can be reached with any knowledge: at the body of a loop, and behind what moves anywhere. */
  forget(): void {
    this.#cells = POINTER_ONLY;
  }

  /** Called where the pointer moves. */
  move(distance: number): void {
    const { lowest, highest } = this.#cells;
    this.#cells = { lowest: lowest - distance, highest: highest - distance };
  }

  /** Called at a Guard of these cells, which are known behind it. Returns whether it has to look. */
  guard(lowest: number, highest: number): boolean {
    const known = this.#cells;
    if (lowest >= known.lowest && highest <= known.highest) return false;
    this.#cells = { lowest: Math.min(lowest, known.lowest), highest: Math.max(highest, known.highest) };
    return true;
  }

  /** Called where the code may jump ahead to an instruction. */
  jump(instruction: number): void {
    this.#ahead.set(instruction, common(this.#cells, this.#ahead.get(instruction)));
  }

  /** Called before an instruction. */
  arrive(instruction: number): void {
    this.#cells = common(this.#cells, this.#ahead.get(instruction));
  }
}

/** The cells that are known on both ways, if there are two. */
function common(one: Cells, other: Cells = one): Cells {
  return {
    lowest: Math.max(one.lowest, other.lowest),
    highest: Math.min(one.highest, other.highest),
  };
}
