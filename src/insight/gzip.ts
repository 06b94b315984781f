/** Traces are gzip where their names say so. What packs is loaded where it is needed: it would take a part of every start. */
import { requireModule } from "../ffi/require.ts";

interface Zlib {
  readonly gzipSync: (text: string) => Uint8Array;
  readonly gunzipSync: (bytes: Uint8Array, options: { readonly finishFlush: number }) => Uint8Array;
  readonly constants: { readonly Z_SYNC_FLUSH: number };
}

function zlib(): Zlib {
  return requireModule("node:zlib") as Zlib;
}

export function isPacked(path: string): boolean {
  return path.endsWith(".gz");
}

export function packer(): (text: string) => Uint8Array {
  const { gzipSync } = zlib();
  return (text) => gzipSync(text);
}

/** What there is of text that may end anywhere. @throws Error where it is no gzip */
export function unpack(bytes: Uint8Array): Uint8Array {
  const { gunzipSync, constants } = zlib();
  return gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH });
}
