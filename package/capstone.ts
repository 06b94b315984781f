/// <reference lib="esnext.disposable" preserve="true" />
/**
 * What `jit-allocator/capstone` names: disassembly by `@alexaltea/capstone-js`. A release puts the
 * bundle of it in place.
 *
 * @packageDocumentation
 */
export * from "../src/insight/capstone.ts";
