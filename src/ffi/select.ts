/** The one place that chooses the foreign function interface. */
import { platform } from "../platform.ts";
import type { RuntimeName } from "../platform.ts";
import type { Ffi } from "./contract.ts";
import { openKoffi } from "./koffi.ts";

/** How each runtime calls native code. koffi loads in Bun and Deno too, through their Node-API. */
const openers: Readonly<Record<RuntimeName, () => Ffi>> = {
  node: openKoffi,
  bun: openKoffi,
  deno: openKoffi,
};

let chosen: Ffi | undefined;

/**
 * The foreign function interface of this runtime, loaded on the first call and kept.
 * Each thread has its own.
 *
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where it cannot be loaded; the message says how it could.
 */
export function systemFfi(): Ffi {
  return (chosen ??= openers[platform.runtime]());
}
