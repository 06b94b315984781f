/// <reference lib="esnext.disposable" preserve="true" />
/**
 * What `jit-allocator/iced` names: disassembly of x86-64 by `iced-x86`. A release puts the bundle of it in place.
 *
 * @packageDocumentation
 */
export * from "../src/insight/iced.ts";
