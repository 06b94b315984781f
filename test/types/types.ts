/* eslint-disable @typescript-eslint/no-unused-vars, @typescript-eslint/no-unnecessary-type-parameters -- types are all that counts here */
/**
 * Type tests: nothing here runs. The build fails where a type is inferred otherwise, and where what must not compile
 * does (`@ts-expect-error` is an error itself where there is none).
 */
import {
  JitAllocator,
  signature,
  toFunction,
  toPointer,
  type Address,
  type JitAllocatorOptions,
  type JitRuntime,
  type Signature,
  type Span,
  type TypedFunction,
} from "../../src/index.ts";

/** True for two types that are the same, `any` and `unknown` told apart. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles for `true` alone. */
function check<T extends true>(..._proof: T[]): void {
  // The type argument is the whole test.
}

declare const span: Span;
declare const allocator: JitAllocator;
declare const runtime: JitRuntime;

export function toFunctionInfersItsParametersAndResult(): void {
  const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
  check<Same<Parameters<typeof add>, [number, number]>>();
  check<Same<ReturnType<typeof add>, number>>();

  const mixed = toFunction(span, { parameters: ["i64", "f64", "pointer", "u64", "f32"], result: "u64" });
  check<Same<Parameters<typeof mixed>, [bigint, number, Address, bigint, number]>>();
  check<Same<ReturnType<typeof mixed>, bigint>>();

  const nothing = toFunction(span, { parameters: [], result: "void" });
  check<Same<Parameters<typeof nothing>, []>>();
  check<Same<ReturnType<typeof nothing>, void>>();

  const small = toFunction(span, { parameters: ["i8", "u8", "i16", "u16", "u32"], result: "f32" });
  check<Same<Parameters<typeof small>, [number, number, number, number, number]>>();
  check<Same<ReturnType<typeof small>, number>>();

  const sum = toFunction(span, { parameters: ["buffer", "u64"], result: "f64" });
  check<Same<Parameters<typeof sum>[1], bigint>>();
  sum(new Float64Array(4), 4n);
  sum(new DataView(new ArrayBuffer(8)), 1n);
  sum(new ArrayBuffer(8), 1n);
  sum(Buffer.alloc(8), 1n);
}

export function aNamedSignatureIsInferredToo(): void {
  const signature = { parameters: ["f64"], result: "f64" } as const satisfies Signature;
  const root = toFunction(span, signature);
  check<Same<typeof root, TypedFunction<typeof signature>>>();
  check<Same<Parameters<typeof root>, [number]>>();
}

export function signatureKeepsWhatTypesThereAre(): void {
  const dot = signature({ parameters: ["buffer", "pointer"], result: "f64" });
  check<Same<typeof dot, { readonly parameters: readonly ["buffer", "pointer"]; readonly result: "f64" }>>();
  check<Same<Parameters<TypedFunction<typeof dot>>[1], number>>();
  // @ts-expect-error there is no such type
  signature({ parameters: ["i33"], result: "void" });
  // @ts-expect-error buffers are parameters only
  signature({ parameters: [], result: "buffer" });
  const widened = { parameters: ["i32"], result: "i32" };
  // @ts-expect-error in a variable the types are any string
  toFunction(span, widened);
}

export function aGenericSignatureIsPassedOn<S extends Signature>(kept: S): TypedFunction<S> {
  return toFunction(span, signature(kept));
}

export function moreArgumentsThanHaveNamesAreInferredToo(): void {
  type Fifteen = TypedFunction<{ parameters: [...Eight, ...Seven]; result: "void" }>;
  check<Same<Parameters<Fifteen>["length"], 15>>();
  check<Same<Parameters<Fifteen>[14], bigint>>();
}
type Eight = ["i8", "i8", "i8", "i8", "i8", "i8", "i8", "i8"];
type Seven = ["f64", "f64", "f64", "f64", "f64", "f64", "u64"];

export function wrongCallsDoNotCompile(): void {
  const add = toFunction(span, { parameters: ["i32", "i64"], result: "i32" });
  // @ts-expect-error an argument is missing
  add(1);
  // @ts-expect-error there is one argument too many
  add(1, 2n, 3);
  // @ts-expect-error i32 is a number
  add(1n, 2n);
  // @ts-expect-error i64 is a bigint
  add(1, 2);
  // @ts-expect-error text is no number
  add("1", 2n);
  // @ts-expect-error the result is a number
  const text: string = add(1, 2n);

  const sum = toFunction(span, { parameters: ["buffer"], result: "void" });
  // @ts-expect-error a buffer is not an address
  sum(4096);
  // @ts-expect-error an array of numbers has no address
  sum([1, 2]);
}

export function callbacksAreTyped(): void {
  toPointer(
    (a, b) => {
      check<Same<typeof a, number>>();
      check<Same<typeof b, bigint>>();
      return a;
    },
    { parameters: ["i32", "i64"], result: "i32" },
  );
  toPointer(
    (address, text) => {
      check<Same<typeof address, Address>>();
      check<Same<typeof text, string | null>>();
    },
    { parameters: ["buffer", "cstring"], result: "void" },
  );
  // @ts-expect-error the result is a number
  toPointer(() => "1", { parameters: [], result: "i32" });
  // @ts-expect-error there is no second argument
  toPointer((a: number, b: number) => b, { parameters: ["i32"], result: "i32" });
  // @ts-expect-error nobody would own the string
  toPointer(() => "text", { parameters: [], result: "cstring" });
}

export function wrongSignaturesDoNotCompile(): void {
  // @ts-expect-error there is no such type
  toFunction(span, { parameters: ["int"], result: "i32" });
  // @ts-expect-error void is for results only
  toFunction(span, { parameters: ["void"], result: "i32" });
  // @ts-expect-error buffer is for parameters only
  toFunction(span, { parameters: [], result: "buffer" });
  // @ts-expect-error the result is missing
  toFunction(span, { parameters: [] });
  // @ts-expect-error an address is not a span
  toFunction(4096, { parameters: [], result: "void" });
}

export function theAllocatorIsTyped(): void {
  check<Same<ReturnType<JitAllocator["alloc"]>, Span>>();
  check<Same<ReturnType<JitAllocator["allocAddress"]>, Address>>();
  check<Same<ReturnType<JitAllocator["query"]>, Span>>();
  allocator.release(span);
  allocator.release(span.rx);
  allocator.write(span, 0, new Uint8Array(4), "never");
  allocator.write(span, (code) => code.length, "flush");
  allocator.write(span, (code) => {
    code.fill(0);
  });
  allocator.hasOption("useDualMapping");
  // @ts-expect-error blockSize is no boolean option
  allocator.hasOption("blockSize");
  // @ts-expect-error there is no such policy
  allocator.reset("medium");
  // @ts-expect-error there is no such cache policy
  allocator.write(span, 0, new Uint8Array(4), "always");
  // @ts-expect-error only an address inside an allocation is queried
  allocator.query(span);
  // @ts-expect-error a span's place is not for others to change
  span.rx = 0;
  // @ts-expect-error the options in force do not change
  allocator.options.blockSize = 0;
  // @ts-expect-error there is no such granularity
  const options: JitAllocatorOptions = { granularity: 32 };
}

export function theRuntimeIsTyped(): void {
  check<Same<ReturnType<JitRuntime["add"]>, Span>>();
  runtime.add(new Uint8Array(4), { name: "add" });
  runtime.add(64, (code, rx) => {
    check<Same<typeof rx, Address>>();
    return code.length;
  });
  // @ts-expect-error a size needs a function that emits
  runtime.add(64);
  // @ts-expect-error a name is text
  runtime.add(new Uint8Array(4), { name: 1 });
}

export function everyOwnerCanBeUsed(): void {
  using owned = new JitAllocator();
  using code = owned.alloc(64);
  using scope = owned.writeScope();
  scope.write(code, 0, new Uint8Array(4));
}
