/// <reference lib="esnext.disposable" preserve="true" />
/**
 * What `exports` of package.json names. A release puts the bundle of it in place of what the compiler makes of it.
 *
 * @packageDocumentation
 */
export * from "../src/index.ts";
