/** Writes a trace as text, a byte at a time: two and a half million lines are too many for string joins. */

/** The longest line that {@link TraceWriter} makes of an operation: a letter and two numbers of up to 10 digits. */
const LONGEST_OPERATION = 24;

/** A trace being written. `jit-allocator replay --help` has the lines. */
export class TraceWriter {
  #bytes = new Uint8Array(1 << 20);
  #length = 0;
  readonly #digits = new Uint8Array(10);

  /** `# text` */
  comment(text: string): void {
    this.#line(`# ${text}`);
  }

  /** `p name`: the operations that follow belong to this phase. */
  phase(name: string): void {
    this.#line(`p ${name}`);
  }

  /** `a id size` */
  alloc(id: number, size: number): void {
    this.#operation(0x61, id, size);
  }

  /** `f id` */
  release(id: number): void {
    this.#operation(0x66, id, -1);
  }

  /** `s id size` */
  shrink(id: number, size: number): void {
    this.#operation(0x73, id, size);
  }

  /** `q id` */
  query(id: number): void {
    this.#operation(0x71, id, -1);
  }

  /** The bytes written so far: a view, valid until the next line. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #line(text: string): void {
    const line = new TextEncoder().encode(`${text}\n`);
    this.#reserve(line.length);
    this.#bytes.set(line, this.#length);
    this.#length += line.length;
  }

  /** `size` is left out where it is -1. */
  #operation(letter: number, id: number, size: number): void {
    this.#reserve(LONGEST_OPERATION);
    this.#bytes[this.#length++] = letter;
    this.#number(id);
    if (size >= 0) this.#number(size);
    this.#bytes[this.#length++] = 0x0a;
  }

  #number(value: number): void {
    this.#bytes[this.#length++] = 0x20;
    let count = 0;
    do {
      this.#digits[count++] = 0x30 + (value % 10);
      value = Math.trunc(value / 10);
    } while (value > 0);
    while (count > 0) this.#bytes[this.#length++] = this.#digits[--count] ?? 0;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}
