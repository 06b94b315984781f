/** Writes the bytes of a WebAssembly module: one function, on a memory that it imports. */

/** The instructions that filters need, by their names in the specification. */
export const Op = {
  block: [0x02, 0x40],
  loop: [0x03, 0x40],
  if: [0x04, 0x40],
  end: [0x0b],
  br: [0x0c],
  br_if: [0x0d],
  return: [0x0f],
  local_get: [0x20],
  local_set: [0x21],
  local_tee: [0x22],
  i32_store: [0x36],
  i32_const: [0x41],
  i32_gt_s: [0x4a],
  i32_popcnt: [0x69],
  i32_add: [0x6a],
  i32_sub: [0x6b],
  i32_xor: [0x73],
  i32_shl: [0x74],
  v128_load: [0xfd, 0x00],
  v128_store: [0xfd, 0x0b],
  v128_const: [0xfd, 0x0c],
  i8x16_shuffle: [0xfd, 0x0d],
  i8x16_swizzle: [0xfd, 0x0e],
  i32x4_splat: [0xfd, 0x11],
  f64x2_eq: [0xfd, 0x47],
  f64x2_ne: [0xfd, 0x48],
  f64x2_lt: [0xfd, 0x49],
  f64x2_gt: [0xfd, 0x4a],
  f64x2_le: [0xfd, 0x4b],
  f64x2_ge: [0xfd, 0x4c],
  v128_not: [0xfd, 0x4d],
  v128_and: [0xfd, 0x4e],
  v128_or: [0xfd, 0x50],
  v128_any_true: [0xfd, 0x53],
  v128_load64_zero: [0xfd, 0x5d],
  f64x2_trunc: [0xfd, 0x7a],
  i32x4_bitmask: [0xfd, 0xa4, 0x01],
  i32x4_add: [0xfd, 0xae, 0x01],
  f64x2_abs: [0xfd, 0xec, 0x01],
  f64x2_neg: [0xfd, 0xed, 0x01],
  f64x2_add: [0xfd, 0xf0, 0x01],
  f64x2_sub: [0xfd, 0xf1, 0x01],
  f64x2_mul: [0xfd, 0xf2, 0x01],
  f64x2_div: [0xfd, 0xf3, 0x01],
  f64x2_convert_low_i32x4_s: [0xfd, 0xfe, 0x01],
} as const satisfies Readonly<Record<string, readonly number[]>>;
export type OpName = keyof typeof Op;

const I32 = 0x7f;
const V128 = 0x7b;

const SECTION = { types: 1, imports: 2, functions: 3, exports: 7, code: 10 } as const;

/** LEB128 without a sign. */
function unsigned(value: number): readonly number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return bytes;
}

/** LEB128 with a sign, of 32 bits. */
function signed(value: number): readonly number[] {
  const bytes: number[] = [];
  let rest = value | 0;
  while (rest < -0x40 || rest >= 0x40) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>= 7;
  }
  bytes.push(rest & 0x7f);
  return bytes;
}

function sized(bytes: readonly number[]): readonly number[] {
  return [...unsigned(bytes.length), ...bytes];
}

function name(text: string): readonly number[] {
  return sized([...new TextEncoder().encode(text)]);
}

/** The body of a function. */
export class WasmBody {
  readonly bytes: number[] = [];
  readonly #parameterCount: number;
  #vectorCount = 0;
  #integerCount = 0;

  constructor(parameterCount: number) {
    this.#parameterCount = parameterCount;
  }

  /** How many locals come before those for vectors: the parameters, and the integers. */
  integer(): number {
    if (this.#vectorCount > 0) throw new RangeError("Integers come before vectors");
    return this.#parameterCount + this.#integerCount++;
  }

  vector(): number {
    return this.#parameterCount + this.#integerCount + this.#vectorCount++;
  }

  emit(op: OpName): void {
    this.bytes.push(...Op[op]);
  }

  /** An instruction with the number of a local or of a label. */
  emitIndex(op: "local_get" | "local_set" | "local_tee" | "br" | "br_if", index: number): void {
    this.bytes.push(...Op[op], ...unsigned(index));
  }

  constant(value: number): void {
    this.bytes.push(...Op.i32_const, ...signed(value));
  }

  /** An access to memory, `offset` bytes behind the address; `alignmentBits` is a hint. */
  emitMemory(
    op: "i32_store" | "v128_load" | "v128_store" | "v128_load64_zero",
    alignmentBits: number,
    offset: number,
  ): void {
    this.bytes.push(...Op[op], alignmentBits, ...unsigned(offset));
  }

  /** An instruction with sixteen bytes: a vector, or the lanes of a shuffle. */
  emitBytes(op: "v128_const" | "i8x16_shuffle", bytes: Uint8Array): void {
    this.bytes.push(...Op[op], ...bytes);
  }

  locals(): readonly number[] {
    const groups = [
      [this.#integerCount, I32],
      [this.#vectorCount, V128],
    ] as const;
    const used = groups.filter(([count]) => count > 0);
    return [...unsigned(used.length), ...used.flatMap(([count, type]) => [...unsigned(count), type])];
  }
}

/** A module that imports `env.memory` and exports the function: `parameterCount` integers in, one out. */
export function toWasmModule(
  exportName: string,
  parameterCount: number,
  body: WasmBody,
): Uint8Array<ArrayBuffer> {
  const section = (id: number, bytes: readonly number[]): readonly number[] => [id, ...sized(bytes)];
  const parameters = Array.from({ length: parameterCount }, () => I32);
  const code = [...body.locals(), ...body.bytes, ...Op.end];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(SECTION.types, [1, 0x60, ...sized(parameters), 1, I32]),
    ...section(SECTION.imports, [1, ...name("env"), ...name("memory"), 0x02, 0x00, 1]),
    ...section(SECTION.functions, [1, 0]),
    ...section(SECTION.exports, [1, ...name(exportName), 0x00, 0]),
    ...section(SECTION.code, [1, ...sized(code)]),
  ]);
}
