/** Code that the library itself runs: routines and stubs. */
import { JitError } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";
import type { VirtualMemory } from "./contract.ts";

/** What code is put into memory with. */
export type PublishingMemory = Pick<
  VirtualMemory,
  | "alloc"
  | "protect"
  | "release"
  | "allocDualMapping"
  | "releaseDualMapping"
  | "copyIn"
  | "flushInstructionCache"
>;

/**
 * Maps code, a whole number of pages. It is never writable and executable at once, and has one view wherever the system
 * allows that. @throws JitError the system's refusal; nothing is mapped then
 */
export function publish(memory: PublishingMemory, code: Uint8Array): Address {
  const address = memory.alloc(code.length, { read: true, write: true });
  try {
    memory.copyIn(address, code, code.length);
    memory.protect(address, code.length, { read: true, execute: true });
    memory.flushInstructionCache(address, code.length);
    return address;
  } catch (error) {
    memory.release(address, code.length);
    if (!(error instanceof JitError)) throw error;
  }
  // What was written may not become executable (SELinux, MDWE): two views, as for other code.
  const mapping = memory.allocDualMapping(code.length, {});
  try {
    memory.copyIn(mapping.rw, code, code.length);
    memory.flushInstructionCache(mapping.rx, code.length);
    return mapping.rx;
  } catch (error) {
    memory.releaseDualMapping(mapping, code.length);
    throw error;
  }
}
