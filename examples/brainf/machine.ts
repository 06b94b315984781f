/** The indices of {@link Machine.registers}, by which compiled code reads and writes them too. */
export const Register = {
  /** The cell pointed at, 0 ≤ pointer < cells. */
  Pointer: 0,
  /** Loop iterations that may still run before control returns; none if it is 0 or less. */
  Budget: 1,
  /** Bytes waiting in the output buffer. */
  OutputLength: 2,
  /** The next byte of the input. */
  InputPosition: 3,
  /** Bytes of input. */
  InputLength: 4,
  /** The instruction at which compiled code was left, or 0 where it ran to the end of the loop that was called. */
  Exit: 5,
  /** The address at which compiled code is entered, in two halves, the lower first. */
  Target: 6,
} as const;

const REGISTER_COUNT = 8;

/** The default length of the tape: 64 Ki cells, comfortably above the customary 30,000. */
export const DEFAULT_CELLS = 65_536;
/** The largest tape: a mebi of cells; displacements and products with it stay far inside 32 bits. */
export const MAX_CELLS = 1_048_576;
/** Output is gathered in a buffer of this size: large enough that emptying it costs next to nothing. */
export const OUTPUT_CAPACITY_BYTES = 65_536;

/**
 * All of a running program's state. Both tiers work on it, and it is whole between any two instructions
 * of the intermediate representation: either tier can go on where the other stopped.
 *
 * Cells are bytes and wrap around. At the end of the input, `,` stores 0.
 */
export class Machine {
  readonly tape: Uint8Array;
  readonly registers = new Int32Array(REGISTER_COUNT);
  readonly output = new Uint8Array(OUTPUT_CAPACITY_BYTES);
  readonly input: Uint8Array;
  /** The next instruction of the intermediate representation. */
  instruction = 0;

  constructor(cells: number = DEFAULT_CELLS, input: Uint8Array = new Uint8Array(0)) {
    if (!Number.isInteger(cells) || cells < 1 || cells > MAX_CELLS) {
      throw new RangeError(`A tape has 1 to ${MAX_CELLS} cells, not ${cells}`);
    }
    this.tape = new Uint8Array(cells);
    // Never an empty array: its address is passed to compiled code, and an empty array has none.
    this.input = input.length > 0 ? input : new Uint8Array(1);
    this.registers[Register.InputLength] = input.length;
  }

  get pointer(): number {
    return this.registers[Register.Pointer] ?? 0;
  }

  /** Sets the address at which compiled code is entered. */
  set target(address: number) {
    this.registers[Register.Target] = address;
    this.registers[Register.Target + 1] = address / 2 ** 32;
  }

  /** The waiting output, as a copy; the buffer is empty afterwards. */
  takeOutput(): Uint8Array {
    const bytes = this.output.slice(0, this.registers[Register.OutputLength]);
    this.registers[Register.OutputLength] = 0;
    return bytes;
  }
}
