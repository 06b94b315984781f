/** Reads the data that the page carries, or that its program sends. */
import { decodePage } from "../src/view/codec.ts";
import type { PageData } from "../src/view/contract.ts";

/** Unpacks page data: gzip, in base64. */
export async function unpack(text: string): Promise<PageData> {
  const letters = atob(text);
  const packed = new Uint8Array(letters.length);
  for (let index = 0; index < letters.length; index++) packed[index] = letters.charCodeAt(index);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return decodePage(new Uint8Array(await new Response(stream).arrayBuffer()));
}
