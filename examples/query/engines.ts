/** The compilers side by side: each makes of a filter a function that selects rows. */
import type { JitRuntime } from "jit-allocator";
import type { BoundFilter, Columns } from "./batches.ts";
import { bindFilter } from "./batches.ts";
import type { Query } from "./expression.ts";
import type { PlainFilter } from "./javascript.ts";
import { toBranchFreeFilter, toPlainFilter } from "./javascript.ts";
import type { NativeTarget } from "./native.ts";
import { toNativeFilter } from "./native.ts";
import type { WasmMemory } from "./wasm.ts";
import { toWasmFilter } from "./wasm.ts";

/** What a filter works on: the columns of one table by name, and where the selected rows go. */
export interface Table {
  readonly memory: WasmMemory;
  readonly columns: Readonly<Record<string, Columns[number]>>;
  readonly selection: Uint32Array;
}

/** A compiled filter over a table. */
export interface EngineFilter extends Disposable {
  readonly run: BoundFilter;
}

export interface Engine {
  readonly name: string;
  readonly kind: "javascript" | "webassembly" | "native";
  /** From the checked filter to the function: what counts as compilation. */
  compile(query: Query, table: Table): EngineFilter;
}

function columnsOf(query: Query, { columns }: Table): Columns {
  return query.columns.map(({ name }) => {
    const column = columns[name];
    if (column === undefined) throw new RangeError(`The table has no column ${name}`);
    return column;
  });
}

function javaScriptEngine(name: string, toFilter: (query: Query) => PlainFilter): Engine {
  return {
    name,
    kind: "javascript",
    compile(query, table) {
      const filter = toFilter(query);
      const columns = columnsOf(query, table);
      return {
        run: (from, to) => filter(table.selection, 0, from, to, ...columns),
        [Symbol.dispose]: () => undefined,
      };
    },
  };
}

const webAssembly: Engine = {
  name: "WebAssembly SIMD",
  kind: "webassembly",
  compile(query, table) {
    const compiled = toWasmFilter(table.memory, query);
    return {
      run: bindFilter(compiled, toPlainFilter(query), table.selection, columnsOf(query, table)),
      [Symbol.dispose]: () => undefined,
    };
  },
};

function nativeEngine(runtime: JitRuntime, target: NativeTarget): Engine {
  return {
    name: target.name,
    kind: "native",
    compile(query, table) {
      const compiled = toNativeFilter(runtime, target, query);
      return {
        run: bindFilter(compiled, toPlainFilter(query), table.selection, columnsOf(query, table)),
        [Symbol.dispose]: () => compiled[Symbol.dispose](),
      };
    },
  };
}

/** JavaScript in two ways, WebAssembly and the instruction sets given, in this order. */
export function enginesFor(runtime: JitRuntime, targets: readonly NativeTarget[]): readonly Engine[] {
  return [
    javaScriptEngine("plain JavaScript", toPlainFilter),
    javaScriptEngine("… without branches", toBranchFreeFilter),
    webAssembly,
    ...targets.map((target) => nativeEngine(runtime, target)),
  ];
}
