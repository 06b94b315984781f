/** Reads pages of the heap map, as a browser does. */
import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { decodePage } from "../../src/view/codec.ts";
import type { PageData } from "../../src/view/contract.ts";

/** Packed page data, as a page has it and as a server sends it. */
export function unpackPage(text: string): PageData {
  return decodePage(gunzipSync(Buffer.from(text, "base64")));
}

/** The data of a page. */
export function dataOfPage(html: string): PageData {
  const [, packed] = /<script type="text\/plain" id="heap-map"[^>]*>([^<]*)<\/script>/.exec(html) ?? [];
  assert.ok(packed, "the page has no data");
  return unpackPage(packed);
}
