/** Values that nobody should pass, and some that are right in another place. */
import { JitAllocator, JitError, JitRuntime, Span, WriteScope } from "../../src/index.ts";
import { RETURN } from "./machine-code.ts";

/** What the traps and getters of this file throw: an error of the caller's own, which must come through as it is. */
export const OWN_ERROR = new RangeError("a getter of the caller's own");

function fail(): never {
  throw OWN_ERROR;
}

const TOO_MANY_BYTES = new Uint8Array(10_000);

/** Every name that the library could read from an object it is given. */
const READ_NAMES = [
  ...["rx", "rw", "size", "length", "byteLength", "byteOffset", "buffer", "name", "parameters", "result"],
  ...[
    "allocator",
    "options",
    "read",
    "write",
    "execute",
    "largePages",
    "preferTmp",
    "blockSize",
    "granularity",
  ],
  ...["useDualMapping", "fillPattern", "toString", "valueOf", "toJSON", "then", "constructor", "isReleased"],
];

function withThrowingGetters(): object {
  const object = {};
  for (const name of [...READ_NAMES, Symbol.toPrimitive, Symbol.iterator, Symbol.toStringTag]) {
    Object.defineProperty(object, name, { get: fail, enumerable: true });
  }
  return object;
}

function throwingProxy(target: object): object {
  const traps = [
    "get",
    "set",
    "has",
    "ownKeys",
    "getPrototypeOf",
    "getOwnPropertyDescriptor",
    "apply",
    "construct",
  ];
  return new Proxy(target, Object.fromEntries(traps.map((trap) => [trap, fail])));
}

function revokedProxy(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** Works on Node 20 as well, which has no `transfer()`. */
function detached(): ArrayBuffer {
  const buffer = new ArrayBuffer(64);
  structuredClone(buffer, { transfer: [buffer] });
  return buffer;
}

function detachedView(): Uint8Array {
  const view = new Uint8Array(64);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  return view;
}

/** A view whose buffer has become shorter than it. */
function viewOutOfBounds(): Uint8Array {
  const buffer = new ArrayBuffer(64, { maxByteLength: 128 });
  const view = new Uint8Array(buffer, 32, 32);
  buffer.resize(16);
  return view;
}

/** Says that it is longer than it is. */
function viewWithPretendedLength(): Uint8Array {
  const view = new Uint8Array(8);
  Object.defineProperty(view, "length", { value: 2 ** 31 });
  Object.defineProperty(view, "byteLength", { get: fail });
  return view;
}

class DerivedBytes extends Uint8Array {
  override get length(): number {
    return fail();
  }
}

/** A set of values, and the allocators behind them. */
export interface NastyValues {
  readonly byName: ReadonlyMap<string, unknown>;
  /** What can be seen of them, as text. */
  observe(): string;
  dispose(): void;
}

/** All of them: made anew for each use, since calls may change what they are given. */
export function nastyValues(): NastyValues {
  const other = new JitAllocator();
  const disposed = new JitAllocator();
  const goneWithIt = disposed.alloc(64);
  const scopeOfDisposed = disposed.writeScope();
  disposed.dispose();
  const released = other.alloc(64);
  released.release();
  const foreign = other.alloc(64);
  foreign.write(0, RETURN);
  const endedScope = other.writeScope();
  endedScope[Symbol.dispose]();
  const endedRuntime = new JitRuntime();
  endedRuntime[Symbol.dispose]();
  const cycle: unknown[] = [];
  cycle.push(cycle);
  const byName = new Map<string, unknown>([
    ["undefined", undefined],
    ["null", null],
    ...[0, -0, 1, -1, 63, 64, 0.5, NaN, Infinity, -Infinity, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 1, 2 ** 48].map(
      (number): [string, unknown] => [Object.is(number, -0) ? "-0" : String(number), number],
    ),
    ["2^53", 2 ** 53],
    ["the largest number", Number.MAX_VALUE],
    ["the smallest number", Number.MIN_VALUE],
    ["1n", 1n],
    ["2n^64n", 2n ** 64n],
    ["an empty string", ""],
    ["a number as a string", "64"],
    ["a policy of reset", "hard"],
    ["a policy of write", "never"],
    ["__proto__", "__proto__"],
    ["an option's name", "useDualMapping"],
    ["a long string", "x".repeat(1000)],
    ["half a surrogate", "\ud800"],
    ["a symbol", Symbol("s")],
    ["Symbol.iterator", Symbol.iterator],
    ["true", true],
    ["false", false],
    ["an object", {}],
    ["an object without a prototype", Object.create(null)],
    ["an object that says it is 64", { valueOf: () => 64, length: 8, size: 64, rx: 4096, rw: 8192 }],
    ["an array", [64]],
    ["an array that holds itself", cycle],
    ["a sparse array of 2^32 - 1", Object.assign([], { length: 2 ** 32 - 1 })],
    ["a function", () => undefined],
    ["a function that throws", fail],
    ["an async function", () => Promise.resolve(4)],
    [
      "a generator",
      (function* () {
        yield 64;
      })(),
    ],
    ["a class", DerivedBytes],
    ["a date", new Date(0)],
    ["a map", new Map([["a", 1]])],
    ["a promise", Promise.resolve(1)],
    ["a regular expression", /x/],
    ["a boxed number", Object(64)],
    ["throwing getters", withThrowingGetters()],
    ["a proxy that throws", throwingProxy({})],
    ["a function proxy that throws", throwingProxy(() => 1)],
    ["a proxy of bytes", new Proxy(new Uint8Array(8), {})],
    ["a proxy of a span", new Proxy(foreign, {})],
    ["a revoked proxy", revokedProxy()],
    ["a detached buffer", detached()],
    ["a detached view", detachedView()],
    ["a DataView of a detached buffer", detachedDataView()],
    ["a view out of bounds", viewOutOfBounds()],
    ["bytes that lie about their length", viewWithPretendedLength()],
    ["bytes whose length throws", new DerivedBytes(8)],
    ["an object with the prototype of bytes", Object.create(Uint8Array.prototype)],
    ["no bytes", new Uint8Array()],
    ["a few bytes", new Uint8Array(8)],
    ["too many bytes", TOO_MANY_BYTES],
    ["shared bytes", new Uint8Array(new SharedArrayBuffer(8))],
    ["words", new Uint32Array(8)],
    ["large integers", new BigUint64Array(2)],
    ["a buffer", new ArrayBuffer(8)],
    ["a shared buffer", new SharedArrayBuffer(8)],
    ["a DataView", new DataView(new ArrayBuffer(8))],
    ["a span of another allocator", foreign],
    ["its address", foreign.rx],
    ["its writable address", foreign.rw],
    ["a released span", released],
    ["the address of a released span", released.rx],
    ["a span of a disposed allocator", goneWithIt],
    ["the address of an unmapped block", goneWithIt.rx],
    ["an object with the prototype of spans", Object.create(Span.prototype)],
    ["the prototype of spans", Span.prototype],
    ["another allocator", other],
    ["a disposed allocator", disposed],
    ["an object with the prototype of allocators", Object.create(JitAllocator.prototype)],
    ["an ended scope", endedScope],
    ["a scope of a disposed allocator", scopeOfDisposed],
    ["an object with the prototype of scopes", Object.create(WriteScope.prototype)],
    ["a disposed runtime", endedRuntime],
    ["an error", new JitError("ERR_DISPOSED", "")],
    ["the global object", globalThis],
  ]);
  return {
    byName,
    observe: () =>
      [other.statistics().allocationCount, other.blocks().length, foreign.isReleased, foreign.size].join(),
    dispose: () => other.dispose(),
  };
}

function detachedDataView(): DataView {
  const buffer = new ArrayBuffer(64);
  const view = new DataView(buffer);
  structuredClone(buffer, { transfer: [buffer] });
  return view;
}
