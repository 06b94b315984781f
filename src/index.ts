/// <reference lib="esnext.disposable" preserve="true" />
/**
 * A memory manager for JIT-compiled machine code: asmjit's JitAllocator for TypeScript, W^X by default.
 *
 * @packageDocumentation
 */
export { JitAllocator } from "./allocator.ts";
export { JitError } from "./errors.ts";
export type { JitErrorCode, SystemFailure } from "./errors.ts";
export type { Address } from "./ffi/contract.ts";
export { toFunction } from "./function.ts";
export type {
  ArgumentsOf,
  NativeValues,
  ParameterType,
  ResultType,
  Signature,
  TypedFunction,
} from "./function.ts";
export type { BooleanOption, JitAllocatorOptions, ResolvedJitAllocatorOptions } from "./options.ts";
export { JitRuntime } from "./runtime.ts";
export type { CodeInfo } from "./runtime.ts";
export type { MemberInfo } from "./shared-engine.ts";
export type { SharedAllocator } from "./sharing.ts";
export { Span } from "./span.ts";
export type { SpanToken } from "./span.ts";
export type { BlockInfo, Statistics } from "./statistics.ts";
export * as VirtMem from "./virt-mem.ts";
export type { DualMapping, HardenedRuntimeInfo, MemoryFlags, MemoryInfo } from "./vm/contract.ts";
export { WriteScope } from "./write-scope.ts";
export type { CachePolicy } from "./write-scope.ts";
