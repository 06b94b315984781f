/// <reference lib="esnext.disposable" preserve="true" />
/**
 * What `jit-allocator/heap-map` names: the heap map of a running program, in the browser. A release puts the bundle of it
 * in place.
 *
 * @packageDocumentation
 */
export * from "../src/view/serve.ts";
