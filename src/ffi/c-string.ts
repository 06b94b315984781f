/** Texts as C has them. */

/** The UTF-8 bytes of `text`, and a zero behind them. */
export function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

/** The same for what is mostly the text that it was the last time: encoding it anew would be a tenth of what mapping a block costs. */
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
