/// <reference lib="esnext.disposable" preserve="true" />
/**
 * A memory manager for JIT-compiled machine code: asmjit's JitAllocator for TypeScript, W^X by default.
 *
 * @packageDocumentation
 */
export type { CodeLifetimes } from "./api/lifetimes.ts";
export type { MemoryLimits } from "./api/pressure.ts";
export type { HeapObservation, SnapshotOptions } from "./api/heap-observation.ts";
export type { HeapSnapshot, SnapshotBlock, SnapshotSpan } from "./insight/snapshot-format.ts";
export type { TraceSink } from "./insight/trace-sink.ts";
export type { SharingThreads } from "./api/sharing-threads.ts";
export { JitAllocator } from "./api/allocator.ts";
export { announce } from "./api/announce.ts";
export type { AnnounceOptions } from "./api/announce.ts";
export type { Announcement } from "./insight/announce.ts";
export type { DiagnosticBlock, JitDiagnostics } from "./base/diagnostics.ts";
export { JitError } from "./base/errors.ts";
export type { JitErrorCode, JitErrorJson, SystemFailure } from "./base/errors.ts";
export type { Address } from "./ffi/contract.ts";
export { signature, toFunction } from "./api/function.ts";
export type { FunctionOptions } from "./api/function.ts";
export { nativeSymbol } from "./api/native-symbol.ts";
export { toPointer } from "./api/callback.ts";
export type { NativeCallback } from "./api/callback.ts";
export type {
  ArgumentsOf,
  CallbackArguments,
  CallbackSignature,
  NativeValues,
  ParameterType,
  ReceivedValue,
  ResultOf,
  ResultType,
  Signature,
  TypedFunction,
} from "./api/signature.ts";
export type { BooleanOption, JitAllocatorOptions, ResolvedJitAllocatorOptions } from "./engine/options.ts";
export { preload } from "./api/preload.ts";
export { JitRuntime } from "./api/runtime.ts";
export type { CodeInfo, PublishedCode } from "./api/runtime.ts";
export type { CodeSymbol } from "./insight/code-symbols.ts";
export type { MemberInfo } from "./sharing/membership.ts";
export type { SharedAllocator } from "./sharing/handle.ts";
export { Span } from "./engine/span.ts";
export type { SpanJson } from "./engine/span.ts";
export type { JitModule, ModuleBuilder, ModulePart, PartInfo } from "./link/module.ts";
export type { Veneer } from "./link/veneers.ts";
export type { SpanInfo } from "./api/span-info.ts";
export type { SpanKind } from "./engine/kinds.ts";
export type { CodeRange, MemoryPressure, PressureListener, SpanToken } from "./engine/contract.ts";
export type { BlockInfo, KindStatistics, Statistics } from "./engine/statistics.ts";
export type {
  DetailedKindStatistics,
  DetailedStatistics,
  FreeRuns,
  PoolStatistics,
} from "./engine/detailed-statistics.ts";
export * as VirtMem from "./api/virt-mem.ts";
export type { DualMapping, HardenedRuntimeInfo, MemoryFlags, MemoryInfo } from "./vm/contract.ts";
export { disassemble } from "./insight/disassembly.ts";
export type {
  CodeBytes,
  DecodedInstruction,
  DisassemblyOptions,
  Instruction,
  InstructionDecoder,
} from "./insight/disassembly.ts";
export { formatInstructions } from "./insight/listing.ts";
export type { ListingOptions } from "./insight/listing.ts";
export { WriteScope } from "./engine/write-scope.ts";
export type { CachePolicy } from "./engine/contract.ts";
