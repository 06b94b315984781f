/** Strings as C has them. */

/** The UTF-8 bytes of `text`, with a zero at the end. */
export function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

/**
 * Keeps the last string it encoded, for callers that mostly pass the same text. Encoding it each time would add a tenth
 * to the cost of mapping a block.
 */
export class RememberedCString {
  #text = "";
  #bytes = cString("");

  of(text: string): Uint8Array {
    if (text !== this.#text) {
      this.#text = text;
      this.#bytes = cString(text);
    }
    return this.#bytes;
  }
}
