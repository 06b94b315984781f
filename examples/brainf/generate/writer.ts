/** Widest line of code: fits an editor beside a file tree. */
const LINE_WIDTH = 96;

/**
 * Writes Brainf*** from a few larger steps on named cells, with a comment on each: what a macro assembler is to
 * machine code. Every step leaves the pointer where the next one can find it, and its scratch cells at 0.
 */
export class BrainfWriter {
  readonly #cells = new Map<string, number>();
  readonly #lines: string[] = [];
  #line = "";
  #depth = 0;
  #pointer = 0;

  /** The program so far. */
  get text(): string {
    this.#endLine();
    return `${this.#lines.join("\n")}\n`;
  }

  /** A comment on a line of its own. @throws Error if it has a character that would run. */
  note(text: string): void {
    if (/[-+<>.,[\]]/.test(text)) throw new Error(`A comment cannot say "${text}": some of it would run`);
    this.#endLine();
    this.#lines.push(text === "" ? "" : `${"  ".repeat(this.#depth)}${text}`);
  }

  /** Adds a number to a cell, by the shorter way round. */
  add(cell: string, value: number): void {
    const up = value & 0xff;
    this.#at(cell);
    this.#code(up <= 128 ? "+".repeat(up) : "-".repeat(256 - up));
  }

  clear(...cells: string[]): void {
    for (const cell of cells) {
      this.#at(cell);
      this.#code("[-]");
    }
  }

  set(cell: string, value: number): void {
    this.clear(cell);
    this.add(cell, value);
  }

  print(cell: string): void {
    this.#at(cell);
    this.#code(".");
  }

  /** Repeats the steps until the cell is 0. */
  whileNonZero(cell: string, steps: () => void): void {
    this.#at(cell);
    this.#code("[");
    this.#depth++;
    steps();
    this.#at(cell);
    this.#depth--;
    this.#code("]");
  }

  /** Takes the steps as often as the cell says, and leaves it 0. */
  times(cell: string, steps: () => void): void {
    this.whileNonZero(cell, () => {
      this.add(cell, -1);
      steps();
    });
  }

  /** Takes the steps if the cell is not 0, and leaves it 0. */
  ifNonZero(cell: string, steps: () => void): void {
    this.whileNonZero(cell, () => {
      this.clear(cell);
      steps();
    });
  }

  /** Takes one of two ways, and leaves the cell 0. `otherwise` is a scratch cell for this step alone. */
  ifElse(cell: string, otherwise: string, steps: () => void, otherSteps: () => void): void {
    this.add(otherwise, 1);
    this.ifNonZero(cell, () => {
      this.add(otherwise, -1);
      steps();
    });
    this.ifNonZero(otherwise, otherSteps);
  }

  /** Adds `factor` times the cell to each target, and leaves it 0. */
  move(cell: string, targets: Readonly<Record<string, number>>): void {
    this.times(cell, () => {
      for (const [target, factor] of Object.entries(targets)) this.add(target, factor);
    });
  }

  /** Adds the cell to the target and keeps it. */
  copy(cell: string, target: string): void {
    this.move(cell, { [target]: 1, copyScratch: 1 });
    this.move("copyScratch", { [cell]: 1 });
  }

  #at(cell: string): void {
    const index = this.#cells.get(cell) ?? this.#cells.size;
    this.#cells.set(cell, index);
    const distance = index - this.#pointer;
    this.#code((distance > 0 ? ">" : "<").repeat(Math.abs(distance)));
    this.#pointer = index;
  }

  #code(commands: string): void {
    for (const command of commands) {
      if (this.#line.length >= LINE_WIDTH) this.#endLine();
      if (this.#line === "") this.#line = "  ".repeat(this.#depth);
      this.#line += command;
    }
  }

  #endLine(): void {
    if (this.#line.trim() !== "") this.#lines.push(this.#line);
    this.#line = "";
  }
}
