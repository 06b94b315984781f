/** The filter as WebAssembly with its vectors of two numbers, for comparison: four rows at a time, as two halves. */
import type { ColumnData } from "./javascript.ts";
import type { CompiledFilter } from "./batches.ts";
import { compactionTable } from "./constant-pool.ts";
import type { Query } from "./expression.ts";
import { toVectorCode } from "./lower.ts";
import type { Operation, Value, VectorCode } from "./vector-code.ts";
import { operandsOf } from "./vector-code.ts";
import type { OpName } from "./wasm-module.ts";
import { toWasmModule, WasmBody } from "./wasm-module.ts";

const LANES = 4;
const HALF_LANES = 2;
const VECTOR_BYTES = 16;
const PAGE_BYTES = 65_536;

const OPS = {
  add: "f64x2_add",
  subtract: "f64x2_sub",
  multiply: "f64x2_mul",
  divide: "f64x2_div",
  "bit-and": "v128_and",
  "bit-or": "v128_or",
  negate: "f64x2_neg",
  absolute: "f64x2_abs",
  truncate: "f64x2_trunc",
  "mask-and": "v128_and",
  "mask-or": "v128_or",
  "mask-not": "v128_not",
} as const satisfies Readonly<Partial<Record<Operation["kind"], OpName>>>;

const COMPARISONS = {
  "==": "f64x2_eq",
  "!=": "f64x2_ne",
  "<": "f64x2_lt",
  "<=": "f64x2_le",
  ">": "f64x2_gt",
  ">=": "f64x2_ge",
} as const;

/**
 * A memory for columns and selections: WebAssembly reaches nothing outside of its own. Machine code and JavaScript work
 * on the same arrays.
 */
export class WasmMemory {
  readonly memory: WebAssembly.Memory;
  /** Where the shuffles lie that move selected rows to the front. */
  readonly shufflesOffset: number;
  #usedBytes = 0;

  /** @param bytes that all arrays take together */
  constructor(bytes: number) {
    const shuffles = compactionTable(LANES);
    const sizeBytes = bytes + shuffles.length + 16 * VECTOR_BYTES;
    this.memory = new WebAssembly.Memory({ initial: Math.ceil(sizeBytes / PAGE_BYTES) });
    this.shufflesOffset = this.#reserve(shuffles.length);
    new Uint8Array(this.memory.buffer).set(shuffles, this.shufflesOffset);
  }

  doubles(length: number): Float64Array {
    return new Float64Array(this.memory.buffer, this.#reserve(length * 8), length);
  }

  integers(length: number): Int32Array {
    return new Int32Array(this.memory.buffer, this.#reserve(length * 4), length);
  }

  selection(length: number): Uint32Array {
    return new Uint32Array(this.memory.buffer, this.#reserve(length * 4), length);
  }

  /** The address of an array of this memory. */
  addressOf(array: ColumnData | Uint32Array): number {
    if (array.buffer !== this.memory.buffer)
      throw new TypeError("The array lies outside of WebAssembly's memory");
    return array.byteOffset;
  }

  #reserve(bytes: number): number {
    const offset = this.#usedBytes;
    this.#usedBytes += Math.ceil(bytes / VECTOR_BYTES) * VECTOR_BYTES;
    return offset;
  }
}

/** The locals that are there before those of values. */
interface Locals {
  readonly selection: number;
  readonly count: number;
  readonly row: number;
  readonly lastRow: number;
  readonly columns: readonly number[];
}

function vectorOf(lane: Float64Array | Int32Array): Uint8Array {
  return new Uint8Array(lane.buffer);
}

/** Computes the vector code for one half of the rows, and says in which local each value is. */
class Half {
  readonly #body: WasmBody;
  readonly #query: Query;
  readonly #code: VectorCode;
  readonly #locals: Locals;
  readonly #half: 0 | 1;
  readonly #places = new Map<Value, number>();

  constructor(body: WasmBody, query: Query, code: VectorCode, locals: Locals, half: 0 | 1) {
    this.#body = body;
    this.#query = query;
    this.#code = code;
    this.#locals = locals;
    this.#half = half;
  }

  emit(): void {
    for (const [value, operation] of this.#code.operations.entries()) {
      if (operation.kind === "constant") continue;
      this.#emitOperation(operation);
      const place = this.#body.vector();
      this.#places.set(value, place);
      this.#body.emitIndex("local_set", place);
    }
  }

  get(value: Value): void {
    const operation = this.#code.operations[value];
    if (operation?.kind === "constant") {
      this.#body.emitBytes("v128_const", vectorOf(Float64Array.of(operation.value, operation.value)));
      return;
    }
    const place = this.#places.get(value);
    if (place === undefined) throw new RangeError(`Value ${value} is used before it is made`);
    this.#body.emitIndex("local_get", place);
  }

  #emitOperation(operation: Exclude<Operation, { kind: "constant" }>): void {
    const body = this.#body;
    switch (operation.kind) {
      case "column": {
        const column = this.#locals.columns[operation.index];
        if (column === undefined) throw new RangeError(`There is no column ${operation.index}`);
        body.emitIndex("local_get", column);
        if (this.#query.columns[operation.index]?.type === "f64") {
          body.emitMemory("v128_load", 3, this.#half * HALF_LANES * 8);
        } else {
          body.emitMemory("v128_load64_zero", 2, this.#half * HALF_LANES * 4);
          body.emit("f64x2_convert_low_i32x4_s");
        }
        break;
      }
      case "add-where":
      case "subtract-where": {
        const [minuend, subtrahend, mask] = operation.operands;
        for (const operand of [minuend, subtrahend, mask]) this.get(operand);
        body.emit("v128_and");
        body.emit(operation.kind === "add-where" ? "f64x2_add" : "f64x2_sub");
        break;
      }
      case "compare":
        for (const operand of operation.operands) this.get(operand);
        body.emit(COMPARISONS[operation.operator]);
        break;
      case "subtract-product":
      case "subtract-once":
        throw new TypeError("WebAssembly has no such instruction that is the same everywhere");
      default:
        for (const operand of operandsOf(operation)) this.get(operand);
        body.emit(OPS[operation.kind]);
    }
  }
}

/** The bytes of a module whose function does what a kernel does, with addresses in place of arrays. */
export function toWasmBytes(
  query: Query,
  shufflesOffset: number,
  exportName: string,
): Uint8Array<ArrayBuffer> {
  const code = toVectorCode(query, { fused: false, truncates: true, selectsBySign: false });
  const parameterCount = 4 + query.columns.length;
  const body = new WasmBody(parameterCount);
  const locals: Locals = {
    selection: 0,
    count: 1,
    row: 2,
    lastRow: 3,
    columns: query.columns.map((_, index) => 4 + index),
  };
  const mask = body.integer();
  const rows = body.vector();

  // The columns' addresses are those of the row at hand.
  const advance = (rowCount: () => void): void => {
    for (const [index, { type }] of query.columns.entries()) {
      body.emitIndex("local_get", 4 + index);
      rowCount();
      body.constant(type === "f64" ? 3 : 2);
      body.emit("i32_shl");
      body.emit("i32_add");
      body.emitIndex("local_set", 4 + index);
    }
  };
  const addTo = (local: number, amount: () => void): void => {
    body.emitIndex("local_get", local);
    amount();
    body.emit("i32_add");
    body.emitIndex("local_set", local);
  };
  /** The address of where the next selected row goes. */
  const nextSelected = (): void => {
    body.emitIndex("local_get", locals.selection);
    body.emitIndex("local_get", locals.count);
    body.constant(2);
    body.emit("i32_shl");
    body.emit("i32_add");
  };

  advance(() => body.emitIndex("local_get", locals.row));
  addTo(locals.lastRow, () => body.constant(-LANES));
  body.emitIndex("local_get", locals.row);
  body.emit("i32x4_splat");
  body.emitBytes("v128_const", vectorOf(Int32Array.of(0, 1, 2, 3)));
  body.emit("i32x4_add");
  body.emitIndex("local_set", rows);

  body.emit("block");
  body.emit("loop");
  body.emitIndex("local_get", locals.row);
  body.emitIndex("local_get", locals.lastRow);
  body.emit("i32_gt_s");
  body.emitIndex("br_if", 1);

  const halves = ([0, 1] as const).map((half) => new Half(body, query, code, locals, half));
  for (const half of halves) half.emit();
  if (code.doubtful !== undefined) {
    for (const half of halves) half.get(code.doubtful);
    body.emit("v128_or");
    body.emit("v128_any_true");
    body.emit("if");
    nextSelected();
    body.emitIndex("local_get", locals.row);
    body.emitMemory("i32_store", 2, 0);
    body.emitIndex("local_get", locals.count);
    body.constant(-1);
    body.emit("i32_xor");
    body.emit("return");
    body.emit("end");
  }
  // The lower four bytes of each lane's mask, side by side.
  for (const half of halves) half.get(code.result);
  body.emitBytes("i8x16_shuffle", Uint8Array.of(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27));
  body.emit("i32x4_bitmask");
  body.emitIndex("local_set", mask);
  nextSelected();
  body.emitIndex("local_get", rows);
  body.emitIndex("local_get", mask);
  body.constant(4);
  body.emit("i32_shl");
  body.emitMemory("v128_load", 4, shufflesOffset);
  body.emit("i8x16_swizzle");
  body.emitMemory("v128_store", 2, 0);
  addTo(locals.count, () => {
    body.emitIndex("local_get", mask);
    body.emit("i32_popcnt");
  });
  body.emitIndex("local_get", rows);
  body.emitBytes("v128_const", vectorOf(Int32Array.of(LANES, LANES, LANES, LANES)));
  body.emit("i32x4_add");
  body.emitIndex("local_set", rows);
  advance(() => body.constant(LANES));
  addTo(locals.row, () => body.constant(LANES));
  body.emitIndex("br", 0);
  body.emit("end");
  body.emit("end");
  body.emitIndex("local_get", locals.count);
  return toWasmModule(exportName, parameterCount, body);
}

type WasmFunction = (...integers: readonly number[]) => number;

/** How many were made: a name of its own keeps V8 from taking a module for one that it has compiled already. */
let serial = 0;

/** Compiles a filter for arrays of this memory. */
export function toWasmFilter(memory: WasmMemory, query: Query): CompiledFilter {
  const exportName = `filter${serial++}`;
  const module = new WebAssembly.Module(toWasmBytes(query, memory.shufflesOffset, exportName));
  const instance = new WebAssembly.Instance(module, { env: { memory: memory.memory } });
  const call = instance.exports[exportName] as WasmFunction;
  return {
    lanes: LANES,
    bind(selection, columns) {
      const selectionAddress = memory.addressOf(selection);
      const addresses = columns.map((column) => memory.addressOf(column));
      return (count, from, to) => call(selectionAddress, count, from, to, ...addresses);
    },
  };
}
