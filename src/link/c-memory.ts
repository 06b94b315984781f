/** Strings of C: of text, and at an address. */
import type { Address } from "../ffi/contract.ts";
import { cString } from "../ffi/c-string.ts";
import type { VirtualMemory } from "../vm/contract.ts";

/** Reads bytes of mapped memory. */
export type ByteReader = Pick<VirtualMemory, "copyOut">;

/** The UTF-8 bytes of `text`, with a zero at the end. Throws the engine's error where there is no memory for them. */
export function copyOfString(text: string): Uint8Array {
  return cString(text);
}

/** No processor has smaller pages. Where one byte of a page can be read, so can the others. */
const SMALLEST_PAGE_BYTES = 4096;
/** Most strings are short; the first read takes so many bytes, and each further one twice as many. */
const FIRST_BYTES = 64;

/**
 * The string at an address, up to the zero at its end, decoded as UTF-8: what is no UTF-8 becomes U+FFFD. Reads no page
 * behind the one with the zero. Precondition: mapped and readable up to there.
 */
export function stringAt(memory: ByteReader, address: Address): string {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let text = "";
  let mostBytes = FIRST_BYTES;
  for (let at = address; ;) {
    const length = Math.min(mostBytes, SMALLEST_PAGE_BYTES - (at % SMALLEST_PAGE_BYTES));
    const bytes = new Uint8Array(length);
    memory.copyOut(at, bytes);
    const end = bytes.indexOf(0);
    if (end !== -1) return text + decoder.decode(bytes.subarray(0, end));
    text += decoder.decode(bytes, { stream: true });
    at += length;
    mostBytes = Math.min(2 * mostBytes, SMALLEST_PAGE_BYTES);
  }
}
