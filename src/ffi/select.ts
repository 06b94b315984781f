/** The one place that chooses the foreign function interface. */
import { platform } from "../base/platform.ts";
import type { RuntimeName } from "../base/platform.ts";
import { openBun } from "./bun.ts";
import type { Ffi } from "./contract.ts";
import { explainDeno, openDeno } from "./deno.ts";
import { guarded } from "./guard.ts";
import { openNode } from "./node.ts";

/**
 * How each runtime calls native code: through its own interface where that is reliable. Each is guarded, and so throws
 * JitErrors.
 */
const openers: Readonly<Record<RuntimeName, () => Ffi>> = {
  node: () => guarded(openNode),
  bun: () => guarded(openBun),
  deno: () => guarded(openDeno, explainDeno),
};

let chosen: Ffi | undefined;

/**
 * The foreign function interface of this runtime, loaded on the first call and kept.
 * Each thread has its own.
 *
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where it cannot be loaded, or the process may not call native code; the
 *   message says what would allow it.
 */
export function systemFfi(): Ffi {
  return (chosen ??= openers[platform.runtime]());
}

export { refusedCall } from "./guard.ts";
