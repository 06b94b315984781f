/**
 * Functions of random signatures in C, compiled by gcc: each folds its arguments into one number, keeps it, and returns the
 * extreme value of its result type that this number chooses. For each there is one that calls a callback of that signature
 * with extreme values that a number chooses, and keeps what it folds the result into.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { ParameterType, ResultType } from "../../src/index.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import type { Random } from "./random.ts";

type Extreme = number | bigint | string;

/** The values of each type that are most likely to be carried wrongly. NaN comes back as any NaN. */
export const EXTREMES: Readonly<Record<Exclude<ParameterType, "buffer" | "buffer?">, readonly Extreme[]>> = {
  i8: [0, 1, -1, 127, -128],
  u8: [0, 1, 127, 128, 255],
  i16: [0, -1, 32767, -32768],
  u16: [0, 1, 32768, 65535],
  i32: [0, -1, 2 ** 31 - 1, -(2 ** 31)],
  u32: [0, 1, 2 ** 31, 2 ** 32 - 1],
  i64: [0n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)],
  u64: [0n, 1n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n],
  f32: [0, -0, 1.5, Infinity, -Infinity, NaN, 2 ** -149, Math.fround(3.4e38)],
  f64: [0, -0, 0.1, Infinity, -Infinity, NaN, Number.MIN_VALUE, Number.MAX_VALUE],
  pointer: [0, 1, 2 ** 31, 2 ** 47 - 1, Number.MAX_SAFE_INTEGER],
  usize: [0, 1, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER],
  cstring: ["", "a", "\u{1f600} \u00e9", "x".repeat(63), "y".repeat(5000)],
};

const C_TYPES: Readonly<Record<ParameterType | "void", string>> = {
  void: "void",
  i8: "int8_t",
  u8: "uint8_t",
  i16: "int16_t",
  u16: "uint16_t",
  i32: "int32_t",
  u32: "uint32_t",
  i64: "int64_t",
  u64: "uint64_t",
  f32: "float",
  f64: "double",
  pointer: "uintptr_t",
  buffer: "const void *",
  "buffer?": "const void *",
  usize: "size_t",
  cstring: "const char *",
};

const PARAMETERS = Object.keys(C_TYPES).filter((type) => type !== "void") as ParameterType[];
const RESULTS = Object.keys(C_TYPES).filter(
  (type) => type !== "buffer" && type !== "buffer?",
) as ResultType[];
/** Those of a callback. */
const CALLBACK_RESULTS = RESULTS.filter((type) => type !== "cstring");

/** What C's compilers and this file multiply by, to fold one number after the other into one. */
const FACTOR = 0x100_0000_01b3n;

/** The bits that C folds of a value: a float widened to double, integers to 64 bits, the bytes of a string. */
function bitsOf(value: Extreme, type: ParameterType): bigint {
  if (typeof value === "string") {
    let bits = 1n;
    for (const byte of new TextEncoder().encode(value))
      bits = BigInt.asUintN(64, (bits ^ BigInt(byte)) * FACTOR);
    return bits;
  }
  if (type !== "f32" && type !== "f64") return BigInt.asUintN(64, BigInt(value));
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, type === "f32" ? Math.fround(Number(value)) : Number(value));
  return Number.isNaN(value) ? 1n : view.getBigUint64(0);
}

/** A function in C and all that is known of it. */
export interface CFunction {
  readonly parameters: readonly ParameterType[];
  readonly result: ResultType;
  readonly address: number;
  /** The signature of a callback, and the function that calls it: `void(callback, choice)`. */
  readonly callback: Pick<CFunction, "parameters"> & { readonly result: Exclude<ResultType, "cstring"> };
  readonly callerAddress: number;
}

/** The compiled functions. */
export interface CFunctions {
  readonly functions: readonly CFunction[];
  /** What the last call folded its arguments into. */
  readonly lastFold: () => bigint;
}

/** What a call with these arguments folds them into. A buffer counts by its first 8 bytes, null as 0. */
export function foldOf(parameters: readonly ParameterType[], args: readonly unknown[]): bigint {
  let fold = 7n;
  for (const [index, type] of parameters.entries()) {
    const value = args[index];
    const bits =
      value === null
        ? 0n
        : value instanceof BigUint64Array
          ? (value[0] ?? 0n)
          : bitsOf(value as Extreme, type);
    fold = BigInt.asUintN(64, (fold ^ bits) * FACTOR);
  }
  return fold;
}

/** What a function returns where it folded its arguments into `fold`. */
export function resultOf(result: ResultType, fold: bigint): Extreme | null | undefined {
  if (result === "void") return undefined;
  const values = EXTREMES[result];
  return values[Number((fold >> 32n) % BigInt(values.length))];
}

/** What a callback gets where the caller was given this number to choose by; undefined for buffers, which are addresses. */
export function chosenArguments(
  parameters: readonly ParameterType[],
  choice: bigint,
): (Extreme | undefined)[] {
  return parameters.map((type, index) => {
    if (type === "buffer" || type === "buffer?") return undefined;
    const values = EXTREMES[type];
    return values[Number((choice >> BigInt(4 * index)) % BigInt(values.length))];
  });
}

/** A random argument of a type. */
export function randomArgument(type: ParameterType, random: Random): unknown {
  if (type === "buffer?" && random.below(2) === 0) return null;
  if (type !== "buffer" && type !== "buffer?") return random.pick(EXTREMES[type]);
  return BigUint64Array.of(BigInt(random.next()) << 20n);
}

/** Compiles `count` functions of 0 to 13 parameters and loads them. @throws Error where gcc refuses */
export function compileFunctions(count: number, random: Random): CFunctions {
  const signatures = Array.from({ length: count }, () => ({
    parameters: Array.from({ length: random.below(14) }, () => random.pick(PARAMETERS)),
    result: random.pick(RESULTS),
    callback: {
      parameters: Array.from({ length: random.below(14) }, () => random.pick(PARAMETERS)),
      result: random.pick(CALLBACK_RESULTS),
    },
  }));
  const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-c-"));
  try {
    const source = path.join(folder, "functions.c");
    const library = path.join(folder, "functions.so");
    writeFileSync(source, textOf(signatures));
    const { status, stderr } = spawnSync(
      "gcc",
      ["-O1", "-shared", "-fPIC", "-nostdlib", "-o", library, source],
      {
        encoding: "utf8",
      },
    );
    if (status !== 0) throw new Error(`gcc refuses: ${stderr}`);
    const loaded = systemFfi().open([library]);
    const addressOf = loaded.find("address_of", { parameters: ["i32"], result: "pointer" });
    const lastFold = loaded.find("last_fold", { parameters: [], result: "u64" });
    const callerOf = loaded.find("caller_of", { parameters: ["i32"], result: "pointer" });
    if (addressOf === undefined || callerOf === undefined || lastFold === undefined)
      throw new Error("the library lacks its functions");
    return {
      functions: signatures.map((signature, index) => ({
        ...signature,
        address: Number(addressOf(index)),
        callerAddress: Number(callerOf(index)),
      })),
      lastFold: () => BigInt(lastFold() as bigint | number),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function textOf(signatures: readonly Pick<CFunction, "parameters" | "result" | "callback">[]): string {
  const lines = [
    "#include <stdint.h>",
    "#include <stddef.h>",
    "static uint64_t fold_;",
    "uint64_t last_fold(void) { return fold_; }",
    "static uint64_t of_double(double value) {",
    "  union { double number; uint64_t bits; } both = { value };",
    "  return value != value ? 1 : both.bits;",
    "}",
    "static uint64_t of_bytes(const uint64_t *bytes) { return bytes ? *bytes : 0; }",
    "static uint64_t of_text(const char *text) {",
    `  uint64_t bits = 1; for (; *text; text++) bits = (bits ^ (unsigned char)*text) * ${FACTOR}ull; return bits;`,
    "}",
  ];
  for (const [type, values] of Object.entries(EXTREMES) as [keyof typeof EXTREMES, readonly Extreme[]][]) {
    const texts = values.map((value) => literalOf(value, type));
    lines.push(`static ${C_TYPES[type]} const values_${type}[] = { ${texts.join(", ")} };`);
  }
  for (const [index, { parameters, result, callback }] of signatures.entries()) {
    const declared = parameters.map((type, number) => `${C_TYPES[type]} a${number}`).join(", ");
    const folds = parameters.map(
      (type, number) => `fold = (fold ^ ${bitsText(`a${number}`, type)}) * ${FACTOR}ull;`,
    );
    const end =
      result === "void" ? "" : ` return values_${result}[(fold >> 32) % ${EXTREMES[result].length}];`;
    lines.push(
      `${C_TYPES[result]} f${index}(${declared === "" ? "void" : declared}) { uint64_t fold = 7; ${folds.join(" ")} fold_ = fold;${end} }`,
      callerText(index, callback),
    );
  }
  const tableOf = (name: string): string =>
    signatures.map((_, index) => `(void *)${name}${index}`).join(", ");
  lines.push(
    `static void *const all[] = { ${tableOf("f")} };`,
    `static void *const callers[] = { ${tableOf("c")} };`,
    "void *address_of(int32_t index) { return all[index]; }",
    "void *caller_of(int32_t index) { return callers[index]; }",
  );
  return `${lines.join("\n")}\n`;
}

/** The function that calls a callback of that signature. A buffer is the place of the numbers that others choose from. */
function callerText(index: number, { parameters, result }: CFunction["callback"]): string {
  const types = parameters.map((type) => C_TYPES[type]).join(", ");
  const args = parameters.map((type, number) =>
    type === "buffer" || type === "buffer?"
      ? "values_i64"
      : `values_${type}[(choice >> ${4 * number}) % ${EXTREMES[type].length}]`,
  );
  const call = `((${C_TYPES[result]} (*)(${types === "" ? "void" : types}))callback)(${args.join(", ")})`;
  const body =
    result === "void"
      ? `${call}; fold_ = 7;`
      : `${C_TYPES[result]} result = ${call}; fold_ = (7 ^ ${bitsText("result", result)}) * ${FACTOR}ull;`;
  return `void c${index}(void *callback, uint64_t choice) { ${body} }`;
}

/** The expression in C for what {@link bitsOf} computes. */
function bitsText(name: string, type: ParameterType): string {
  if (type === "f32" || type === "f64") return `of_double(${name})`;
  if (type === "buffer" || type === "buffer?") return `of_bytes(${name})`;
  return type === "cstring" ? `of_text(${name})` : `(uint64_t)${name}`;
}

function literalOf(value: Extreme, type: ParameterType): string {
  if (typeof value === "string") {
    const bytes = [...new TextEncoder().encode(value)];
    return `"${bytes.map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("")}"`;
  }
  if (type !== "f32" && type !== "f64") return `(${C_TYPES[type]})${BigInt.asUintN(64, BigInt(value))}ull`;
  if (Number.isNaN(value)) return '__builtin_nan("")';
  if (value === Infinity || value === -Infinity) return `${value < 0 ? "-" : ""}__builtin_inf()`;
  return Object.is(value, -0) ? "-0.0" : Number(value).toExponential(20);
}
