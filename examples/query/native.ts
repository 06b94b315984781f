/** A filter as a function of machine code, for the processor at hand. */
import type { JitRuntime, Span } from "jit-allocator";
import { toFunction } from "jit-allocator";
import { arm64 } from "./arm64.ts";
import type { CompiledFilter } from "./batches.ts";
import { x64Sets } from "./cpu.ts";
import type { Query } from "./expression.ts";
import { toX64Code } from "./x64.ts";

/** One of the instruction sets that the processor has. */
export interface NativeTarget {
  readonly name: string;
  readonly lanes: number;
  toCode(query: Query): Uint8Array;
}

/** Those that this process can run, the most capable first; none on other processors. */
export function nativeTargets(runtime: JitRuntime): readonly NativeTarget[] {
  if (process.arch === "arm64") return [arm64];
  if (process.arch !== "x64") return [];
  const isWindows = process.platform === "win32";
  return x64Sets(runtime, isWindows).map((set) => ({
    name: set.name,
    lanes: set.lanes,
    toCode: (query) => toX64Code(query, set, isWindows),
  }));
}

/** Machine code that can be called; released, its memory is free for another filter. */
export interface NativeFilter extends CompiledFilter, Disposable {
  readonly codeBytes: number;
}

/** Compiles a filter and makes it callable. */
export function toNativeFilter(runtime: JitRuntime, target: NativeTarget, query: Query): NativeFilter {
  const code = target.toCode(query);
  const span: Span = runtime.add(code, { name: query.text });
  const call = toFunction(span, {
    parameters: ["buffer", "u32", "u32", "u32", ...query.columns.map(() => "buffer" as const)],
    result: "i32",
  });
  return {
    lanes: target.lanes,
    codeBytes: code.length,
    bind: (selection, columns) => (count, from, to) => call(selection, count, from, to, ...columns),
    [Symbol.dispose]: () => span.release(),
  };
}
