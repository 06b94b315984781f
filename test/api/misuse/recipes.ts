/** How each public function is called rightly, and what else may be passed to it in each place. */
import { inspectCustom } from "../../../src/base/inspect.ts";
import {
  announce,
  disassemble,
  formatInstructions,
  JitAllocator,
  JitError,
  JitRuntime,
  nativeSymbol,
  preload,
  signature,
  Span,
  toFunction,
  toPointer,
  VirtMem,
  WriteScope,
  type NativeCallback,
  type ParameterType,
  type ResultType,
  type Signature,
  type SpanKind,
  type TraceSink,
} from "../../../src/index.ts";
import { typedArrayLength } from "../../../src/base/intrinsics.ts";
import { wrong } from "../../support/expectations.ts";
import { RETURN } from "../../support/machine-code.ts";

/** What the calls are made on; none of it is among the nasty values. */
export interface Fixture {
  readonly allocator: JitAllocator;
  readonly span: Span;
  readonly scope: WriteScope;
  readonly runtime: JitRuntime;
  /** Of the runtime. */
  readonly published: Span;
  /** Shared, so that what is for threads can be called on it; no other thread attaches. */
  readonly shared: JitAllocator;
  /** Of the shared allocator. */
  readonly common: Span;
  /** All that can be seen of both allocators, as text. */
  observe(): string;
  dispose(): void;
}

/** One public function. */
export interface Recipe {
  /** Right arguments. */
  args(fixture: Fixture): readonly unknown[];
  /** The object it is called on. */
  readonly self?: (fixture: Fixture) => unknown;
  call(self: unknown, args: readonly unknown[]): unknown;
  /** For each place: whether this value may go through as well. */
  readonly allows: readonly ((value: unknown) => boolean)[];
  /** Gives back what a call that went through has taken. */
  undo?(result: unknown, args: readonly unknown[]): void;
}

export function makeFixture(): Fixture {
  const allocator = new JitAllocator();
  const span = allocator.alloc(256);
  span.write(0, RETURN);
  const scope = allocator.writeScope();
  const runtime = new JitRuntime();
  const published = runtime.add(RETURN, { name: "return" });
  const shared = new JitAllocator();
  const handle = shared.share();
  const common = shared.alloc(256);
  return {
    shared,
    common,
    allocator,
    span,
    scope,
    runtime,
    published,
    observe() {
      allocator.verify();
      runtime.allocator.verify();
      return [
        figuresOf(allocator),
        figuresOf(runtime.allocator),
        sharedFiguresOf(shared),
        [span.isReleased, span.size, digest(span)].join(),
        [published.isReleased, digest(published), runtime.nameOf(published.rx)].join(),
      ].join("; ");
    },
    dispose() {
      allocator.dispose();
      runtime[Symbol.dispose]();
      // Who has detached cannot end it for all; another attachment can.
      if (isDetached(shared)) JitAllocator.attach(handle).dispose();
      else shared.dispose();
    },
  };
}

function isDetached(allocator: JitAllocator): boolean {
  return sharedFiguresOf(allocator).startsWith("ERR");
}

/** The same of an allocator from which this thread may have detached: then the error's code. */
function sharedFiguresOf(allocator: JitAllocator): string {
  try {
    allocator.verify();
    return `${figuresOf(allocator)}, member ${allocator.memberId} of ${allocator.members().length}`;
  } catch (error) {
    if (error instanceof JitError) return error.code;
    throw error;
  }
}

function figuresOf(allocator: JitAllocator): string {
  const { allocationCount, blockCount, usedSize, reservedSize } = allocator.statistics();
  return `${allocationCount} in ${blockCount} blocks, ${usedSize} of ${reservedSize} bytes`;
}

/** Its code as a number: it differs where a byte was written. */
function digest(span: Span): number {
  return span.isReleased ? 0 : span.read().reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, 0);
}

type Allows = Recipe["allows"][number];

const anything: Allows = () => true;
const nothing: Allows = () => false;
const isIndex: Allows = (value) => typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
const isIndexUpTo =
  (most: number): Allows =>
  (value) =>
    isIndex(value) && Number(value) <= most;
const isSize: Allows = (value) =>
  typeof value === "number" && Number.isInteger(value) && value > 0 && value < 2 ** 31;
const isFunction: Allows = (value) => typeof value === "function";
const isObject: Allows = (value) => typeof value === "object" && value !== null;
const isMissing: Allows = (value) => value === undefined;
const either =
  (...allowed: readonly Allows[]): Allows =>
  (value) =>
    allowed.some((allows) => allows(value));
const isOneOf =
  (...right: readonly unknown[]): Allows =>
  (value) =>
    right.includes(value);
const isBytes: Allows = (value) => ArrayBuffer.isView(value) && value instanceof Uint8Array;
/** By its brand: a proxy of one is none. */
const isLiveSpan: Allows = (value) => {
  try {
    return value instanceof Span && !value.isReleased;
  } catch {
    return false;
  }
};
const isPolicy = isOneOf(undefined, "default", "flush", "never");
/** Options are optional, and an object without own properties has none that are wrong. */
const isEmptyOptions: Allows = (value) =>
  value === undefined || (typeof value === "object" && value !== null && Object.keys(value).length === 0);

/** A method of a class, called on whatever it is given. */
/** A prototype and those that it inherits from, but for what all objects have. */
export function chainOf(prototype: object): readonly object[] {
  const next = Object.getPrototypeOf(prototype) as object | null;
  return next === null ? [] : [prototype, ...chainOf(next)];
}

function method(
  prototype: object,
  name: string | symbol,
  self: (fixture: Fixture) => unknown,
  args: (fixture: Fixture) => readonly unknown[],
  ...allows: readonly Allows[]
): Recipe {
  const owner = chainOf(prototype).find((object) => Object.hasOwn(object, name)) ?? prototype;
  const descriptor = Object.getOwnPropertyDescriptor(owner, name);
  // eslint-disable-next-line @typescript-eslint/unbound-method -- it is called by Reflect.apply
  const code: unknown = descriptor?.get ?? descriptor?.value;
  if (typeof code !== "function") throw new Error(`${String(name)} is no method`);
  return { args, self, allows, call: (receiver, given) => Reflect.apply(code, receiver, given) as unknown };
}

function plain(
  code: (...args: never) => unknown,
  args: readonly unknown[],
  ...allows: readonly Allows[]
): Recipe {
  return {
    args: () => args,
    allows,
    call: (_self, given) => Reflect.apply(code, undefined, given) as unknown,
  };
}

const noArguments = (): readonly unknown[] => [];
const onAllocator = (name: string | symbol, args: Recipe["args"], ...allows: readonly Allows[]): Recipe =>
  method(JitAllocator.prototype, name, ({ allocator }) => allocator, args, ...allows);
const onSpan = (name: string | symbol, args: Recipe["args"], ...allows: readonly Allows[]): Recipe =>
  method(Span.prototype, name, ({ span }) => span, args, ...allows);
const onShared = (name: string | symbol, args: Recipe["args"], ...allows: readonly Allows[]): Recipe =>
  method(JitAllocator.prototype, name, ({ shared }) => shared, args, ...allows);
const onScope = (name: string | symbol, args: Recipe["args"], ...allows: readonly Allows[]): Recipe =>
  method(WriteScope.prototype, name, ({ scope }) => scope, args, ...allows);
const onRuntime = (name: string | symbol, args: Recipe["args"], ...allows: readonly Allows[]): Recipe =>
  method(JitRuntime.prototype, name, ({ runtime }) => runtime, args, ...allows);

/** The methods of the classes, by `Class.method`. */
export const instanceRecipes: Readonly<Record<string, Recipe>> = {
  "JitAllocator.hasOption": onAllocator("hasOption", () => ["useDualMapping"], isOneOf("useDualMapping")),
  "JitAllocator.blockSize": onAllocator("blockSize", noArguments),
  "JitAllocator.granularity": onAllocator("granularity", noArguments),
  "JitAllocator.fillPattern": onAllocator("fillPattern", noArguments),
  "JitAllocator.trim": onAllocator("trim", noArguments),
  "JitAllocator.onPressure": onAllocator(
    "onPressure",
    () => [0.5, () => undefined],
    (value) => typeof value === "number" && value > 0 && value <= 1,
    isFunction,
  ),
  "JitAllocator.statistics in detail": onAllocator("statistics", () => [{ detail: true }], isDetailOrNone),
  "JitAllocator.snapshot": onAllocator("snapshot", () => [{ code: true }], isSnapshotOptions),
  "JitAllocator.record": {
    args: () => [{ write: () => undefined }],
    self: ({ allocator }) => allocator,
    call: (self, [sink]) => {
      // Any text is the name of a file, but for the empty one.
      const given = typeof sink === "string" ? "" : wrong<TraceSink>(sink);
      JitAllocator.prototype.record.call(self as JitAllocator, given)[Symbol.dispose]();
    },
    allows: [
      (value) =>
        typeof value === "object" && typeof (value as Partial<TraceSink> | null)?.write === "function",
    ],
  },
  "JitAllocator.alloc that must succeed": {
    args: () => [true],
    self: ({ allocator }) => allocator,
    call: (self, [mustSucceed]) => {
      const info = { mustSucceed: wrong<boolean>(mustSucceed) };
      JitAllocator.prototype.alloc.call(self as JitAllocator, 64, info).release();
    },
    allows: [either(isMissing, (value) => typeof value === "boolean")],
  },
  "JitAllocator.options": onAllocator("options", noArguments),
  "JitAllocator.range": onAllocator("range", noArguments),
  "JitAllocator.reaches": onAllocator("reaches", ({ span }) => [span.rx, span.rx], isIndex, isIndex),
  "JitAllocator.alloc": onAllocator("alloc", () => [64], isSize),
  "JitAllocator.alloc with an info": onAllocator("alloc", () => [64, {}], isSize, isEmptyInfo),
  "JitAllocator.alloc of a kind": {
    args: () => ["data", "table"],
    self: ({ allocator }) => allocator,
    call: (self, [kind, name]) => {
      const info = { kind: wrong<SpanKind>(kind), name: wrong<string>(name) };
      JitAllocator.prototype.alloc.call(self as JitAllocator, 64, info).release();
    },
    allows: [isMissing, either(isMissing, (value) => typeof value === "string")],
  },
  "JitAllocator.allocAddress": onAllocator("allocAddress", () => [64], isSize),
  "JitAllocator.release": onAllocator("release", ({ span }) => [span], nothing),
  "JitAllocator.enter": onAllocator("enter", noArguments),
  "JitAllocator.leave": onAllocator("leave", noArguments),
  "JitAllocator.retire": onAllocator("retire", ({ span }) => [span], nothing),
  "JitAllocator.release by address": onAllocator("release", ({ span }) => [span.rx], nothing),
  "JitAllocator.shrink": onAllocator("shrink", ({ span }) => [span, 64], nothing, isIndexUpTo(256)),
  "JitAllocator.query": onAllocator("query", ({ span }) => [span.rx], nothing),
  "JitAllocator.nameOf": onAllocator("nameOf", ({ span }) => [span.rx], anything),
  "JitAllocator.queryAddress": onAllocator("queryAddress", ({ span }) => [span.rx], nothing),
  "JitAllocator.write": onAllocator(
    "write",
    ({ span }) => [span, 0, RETURN, "default"],
    nothing,
    either(isIndexUpTo(255), isFunction),
    either(isBytes, isPolicy),
    isPolicy,
  ),
  "JitAllocator.write by callback": onAllocator(
    "write",
    ({ span }) => [span, (): void => undefined, "flush"],
    nothing,
    isFunction,
    isPolicy,
  ),
  "JitAllocator.write what a callback returns": {
    args: () => [64],
    self: ({ allocator }) => allocator,
    // A callback returns the value.
    call: (self, [value]) => {
      const allocator = self as JitAllocator;
      const span = JitAllocator.prototype.alloc.call(allocator, 128);
      try {
        allocator.write(span, () => wrong<number>(value));
      } finally {
        span[Symbol.dispose]();
      }
      return undefined;
    },
    allows: [
      either(
        isMissing,
        (value) => typeof value === "number" && Number.isInteger(value) && value > 0 && value <= 128,
      ),
    ],
  },
  "JitAllocator.veneer": onAllocator("veneer", () => [4096], isIndex),
  "JitAllocator.module": onAllocator("module", noArguments),
  "JitAllocator.writeScope": onAllocator("writeScope", () => ["default"], isPolicy),
  "JitAllocator.statistics": onAllocator("statistics", noArguments),
  "JitAllocator.blocks": onAllocator("blocks", noArguments),
  "JitAllocator.reset": onAllocator("reset", () => ["soft"], isOneOf(undefined, "hard")),
  "JitAllocator.verify": onAllocator("verify", noArguments),
  "JitAllocator.dispose": onAllocator("dispose", noArguments),
  "JitAllocator.Symbol(Symbol.toStringTag)": onAllocator(Symbol.toStringTag, noArguments),
  "JitAllocator.Symbol(nodejs.util.inspect.custom)": onAllocator(inspectCustom, noArguments),
  "JitAllocator.dispose@@": onAllocator(Symbol.dispose, noArguments),

  "JitAllocator.share": onAllocator("share", noArguments),
  "JitAllocator.share again": onShared("share", noArguments),
  "JitAllocator.memberId": onShared("memberId", noArguments),
  "JitAllocator.members": onShared("members", noArguments),
  "JitAllocator.allocationsOf": onShared("allocationsOf", ({ shared }) => [shared.memberId], isOneOf(0, 1)),
  "JitAllocator.releaseAllOf": onShared("releaseAllOf", ({ shared }) => [shared.memberId], isOneOf(0, 1)),
  "JitAllocator.adopt": onShared("adopt", () => [0], isOneOf(0)),
  "JitAllocator.detach": onShared("detach", noArguments),
  "JitAllocator.spanOf": onShared("spanOf", ({ common }) => [common.token], nothing),
  "JitAllocator.alloc, shared": onShared("alloc", () => [64], isSize),
  "JitAllocator.allocAddress, shared": onShared("allocAddress", () => [64], isSize),
  "JitAllocator.retire, shared": onShared("retire", ({ common }) => [common], nothing),
  "JitAllocator.release, shared": onShared("release", ({ common }) => [common], nothing),
  "JitAllocator.release by address, shared": onShared("release", ({ common }) => [common.rx], nothing),
  "JitAllocator.shrink, shared": onShared("shrink", ({ common }) => [common, 64], nothing, isIndexUpTo(256)),
  "JitAllocator.query, shared": onShared("query", ({ common }) => [common.rx], nothing),
  "JitAllocator.write, shared": onShared(
    "write",
    ({ common }) => [common, 0, RETURN, "default"],
    nothing,
    either(isIndexUpTo(255), isFunction),
    either(isBytes, isPolicy),
    isPolicy,
  ),
  "JitAllocator.reset, shared": onShared("reset", () => ["soft"], isOneOf(undefined, "hard")),

  "Span.rx": onSpan("rx", noArguments),
  "Span.rw": onSpan("rw", noArguments),
  "Span.kind": onSpan("kind", noArguments),
  "Span.patch": onSpan(
    "patch",
    () => [8, Uint8Array.of(0xc3, 0xc3, 0xc3, 0xc3)],
    (value) => isIndexUpTo(252)(value) && Number(value) % 4 === 0,
    (value) => isBytes(value) && [1, 2, 4, 8].includes(typedArrayLength(value)),
  ),
  "Span.size": onSpan("size", noArguments),
  "Span.isReleased": onSpan("isReleased", noArguments),
  "Span.token": onSpan("token", noArguments),
  "Span.write": onSpan("write", () => [0, RETURN], isIndexUpTo(255), isBytes),
  "Span.read": onSpan(
    "read",
    () => [0, 64],
    either(isMissing, isIndexUpTo(256)),
    either(isMissing, isIndexUpTo(256)),
  ),
  "Span.shrink": onSpan("shrink", () => [64], isIndexUpTo(256)),
  "Span.equals": onSpan("equals", ({ span }) => [span], anything),
  "Span.toJSON": onSpan("toJSON", noArguments),
  "Span.Symbol(Symbol.toStringTag)": onSpan(Symbol.toStringTag, noArguments),
  "Span.Symbol(nodejs.util.inspect.custom)": onSpan(inspectCustom, noArguments),
  "Span.release": onSpan("release", noArguments),
  "Span.retire": onSpan("retire", noArguments),
  "Span.dispose@@": onSpan(Symbol.dispose, noArguments),

  "WriteScope.write": onScope(
    "write",
    ({ span }) => [span, 0, RETURN],
    nothing,
    either(isIndexUpTo(255), isFunction),
    // What stands behind a callback is not looked at.
    anything,
  ),
  "WriteScope.flush": onScope("flush", noArguments),
  "WriteScope.Symbol(Symbol.toStringTag)": onScope(Symbol.toStringTag, noArguments),
  "WriteScope.dispose@@": onScope(Symbol.dispose, noArguments),

  "JitRuntime.add": onRuntime("add", () => [RETURN, { name: "x" }], isBytes, isCodeInfo()),
  "JitRuntime.add with a callback": onRuntime(
    "add",
    () => [64, (): number => 1, { name: "x" }],
    either(isSize, isBytes),
    either(isFunction, isCodeInfo()),
    // What stands behind the information of bytes is not looked at.
    anything,
  ),
  "JitRuntime.release": onRuntime("release", ({ published }) => [published], nothing),
  "JitRuntime.nameOf": onRuntime("nameOf", ({ span }) => [span.rx], anything),
  "JitRuntime.codeOf": onRuntime("codeOf", ({ span }) => [span], anything),
  "JitRuntime.dispose": onRuntime("dispose", noArguments),
  "JitRuntime.Symbol(Symbol.toStringTag)": onRuntime(Symbol.toStringTag, noArguments),
  "JitRuntime.Symbol(nodejs.util.inspect.custom)": onRuntime(inspectCustom, noArguments),
  "JitRuntime.dispose@@": onRuntime(Symbol.dispose, noArguments),
};

/** Options of `statistics`: an object may have no detail. */
function isDetailOrNone(value: unknown): boolean {
  if (value === undefined) return true;
  if (typeof value !== "object" || value === null) return false;
  const { detail } = value as { detail?: unknown };
  return detail === undefined || typeof detail === "boolean";
}

/** What a snapshot can be asked for: nothing, or the one option. */
function isSnapshotOptions(value: unknown): boolean {
  if (value === undefined) return true;
  if (typeof value !== "object" || value === null) return false;
  const { code } = value as { code?: unknown };
  const isKnown = code === undefined || typeof code === "boolean";
  return isKnown && Object.keys(value).every((key) => key === "code");
}

/** No information, or an object without any that is wrong. */
function isEmptyInfo(value: unknown): boolean {
  if (value === undefined) return true;
  if (typeof value !== "object" || value === null) return false;
  const { kind, name } = value as { kind?: unknown; name?: unknown };
  const isKind = [undefined, "code", "constants", "data"].includes(wrong(kind));
  return isKind && (name === undefined || typeof name === "string");
}

/** A name that is there must be a string. */
function isCodeInfo(): Allows {
  return either(isMissing, (value) => {
    if (!isObject(value) && typeof value !== "function") return false;
    const { name } = value as { name?: unknown };
    return name === undefined || typeof name === "string";
  });
}

/** A function made of a `ret`, which leaves its arguments alone. */
function typed(type: ParameterType, right: unknown, allows: Allows): Recipe {
  return {
    args: () => [right],
    allows: [allows],
    self: ({ span }) => span,
    call: (self, args) => {
      // A proxy would do as a `this`, since the function needs none; the span is what is called.
      const call = toFunction(self as Span, { parameters: [type], result: "void" }) as (
        ...given: unknown[]
      ) => unknown;
      return call(...args);
    },
  };
}

const isIn =
  (least: number, most: number): Allows =>
  (value) =>
    typeof value === "number" && Number.isInteger(value) && value >= least && value <= most;
const isBigintIn =
  (least: bigint, most: bigint): Allows =>
  (value) =>
    typeof value === "bigint" && value >= least && value <= most;
const isNumber: Allows = (value) => typeof value === "number";
/** By its brand, whatever it pretends. */
const isBuffer: Allows = (value) =>
  ArrayBuffer.isView(value) || Object.prototype.toString.call(value) === "[object ArrayBuffer]";

const PAGE = 4096;
const SIZE = 16 * PAGE;
/** What the system would take at its word: another program's memory, for all it knows. VirtMem keeps no books. */
const isPossibleRange: Allows = (value) => typeof value === "number" && value > 0 && value % PAGE === 0;

/** Functions of VirtMem that change what is mapped at an address: nothing possible is passed, since it would be done. */
function virtMemAt(
  name: "release" | "protect" | "releaseDualMapping" | "flushInstructionCache",
  args: readonly unknown[],
  ...allows: readonly Allows[]
): Recipe {
  return {
    args: () => args,
    allows,
    call: (_self, given) => {
      const isSafe = given.some((value) => !isRight(value));
      if (!isSafe) throw new TypeError("not called: the system would do it");
      return Reflect.apply(VirtMem[name] as (...given: unknown[]) => unknown, undefined, given);
    },
  };
  function isRight(value: unknown): boolean {
    return args.includes(value) || isPossibleRange(value);
  }
}

/**
 * Functions of VirtMem that access any address: those from 1 on may be any memory, and are not passed. Whatever comes after
 * the address is refused together with the address 0.
 */
function virtMemAccess(name: "read" | "write" | "cstring", args: readonly unknown[]): Recipe {
  return {
    args: () => args,
    allows: args.map(() => nothing),
    call: (_self, given) => {
      const [address] = given;
      if (typeof address === "number" && address > 0)
        throw new TypeError("not called: it would access the address");
      return Reflect.apply(VirtMem[name] as (...all: unknown[]) => unknown, undefined, given);
    },
  };
}

/** The functions and constructors, by name. */
export const moduleRecipes: Readonly<Record<string, Recipe>> = {
  JitAllocator: {
    args: () => [{}],
    allows: [isEmptyOptions],
    call: (_self, [options]) => new JitAllocator(wrong(options)),
    undo: (result) => (result as JitAllocator).dispose(),
  },
  preload: plain(preload, []),
  ...Object.fromEntries(
    [
      ["useDualMapping", isOneOf(true, false, undefined)],
      ["blockSize", isMissing],
      ["granularity", isOneOf(64, undefined)],
      ["fillPattern", either(isMissing, isIn(0, 2 ** 32 - 1))],
      [
        "maxReservedSize",
        either(isMissing, (value) => Number.isSafeInteger(value) && Number(value) >= 65536),
      ],
    ].map(([option, allows]): [string, Recipe] => [
      `JitAllocator option ${option as string}`,
      {
        args: () => [undefined],
        allows: [allows as Allows],
        call: (_self, [value]) => new JitAllocator({ [option as string]: value }),
        undo: (result) => (result as JitAllocator).dispose(),
      },
    ]),
  ),
  "JitAllocator.attach": {
    args: ({ shared }) => [shared.share()],
    allows: [nothing],
    call: (_self, [handle]) => JitAllocator.attach(wrong(handle)),
    undo: (result) => (result as JitAllocator).detach(),
  },
  JitError: {
    // What becomes of the message is the work of Error itself.
    args: () => ["ERR_DISPOSED", {}],
    allows: [anything, anything],
    call: (_self, [code, failure]) => new JitError(wrong(code), "text", wrong(failure)),
  },
  JitRuntime: {
    args: () => [{}],
    // A runtime has the one option that can be beside none: its allocator.
    allows: [either(isEmptyOptions, (value) => value instanceof JitRuntime)],
    call: (_self, [options]) => new JitRuntime(wrong(options)),
    undo: (result) => (result as JitRuntime)[Symbol.dispose](),
  },
  "JitRuntime option allocator": {
    args: () => [undefined],
    allows: [(value) => value === undefined || value instanceof JitAllocator],
    call: (_self, [allocator]) => new JitRuntime({ allocator: wrong(allocator) }),
    undo: (result) => (result as JitRuntime)[Symbol.dispose](),
  },
  // Not for users; what they make of it can do nothing.
  Span: {
    args: () => [Symbol("span"), {}, 0, 0],
    allows: [nothing, nothing, nothing, nothing],
    call: (_self, given) => Reflect.construct(Span, given) as unknown,
  },
  WriteScope: {
    args: () => [{}, "default"],
    allows: [anything, anything],
    call: (_self, given) => Reflect.construct(WriteScope, given) as unknown,
  },
  announce: {
    // Nothing is announced from then on: it would be for the rest of the process.
    args: () => [{}],
    allows: [(value) => isObject(value) && Object.keys(value as object).length === 0],
    call: (_self, [options]) => announce(wrong(options)),
  },
  signature: {
    args: () => [{ parameters: [], result: "void" }],
    allows: [nothing],
    call: (_self, [types]) => signature(wrong<Signature>(types)),
  },
  disassemble: {
    args: () => [{ rx: 4096, bytes: RETURN }, { decode: () => [] }],
    allows: [isLiveSpan, nothing],
    call: (_self, [code, decoder]) => disassemble(wrong(code), wrong(decoder)),
  },
  formatInstructions: {
    args: () => [[], {}],
    allows: [
      (value) => Array.isArray(value) && value.length === 0,
      (value) => value !== null, // any value has no options
    ],
    call: (_self, [instructions, options]) => formatInstructions(wrong(instructions), wrong(options)),
  },
  nativeSymbol: {
    args: () => ["abs", undefined],
    allows: [nothing, (value) => value === undefined],
    call: (_self, [name, from]) => nativeSymbol(wrong(name), wrong(from)),
  },
  toPointer: {
    args: () => [() => undefined, { parameters: [], result: "void" }],
    allows: [(value) => typeof value === "function", nothing],
    call: (_self, [callback, types]) =>
      toPointer(wrong<() => void>(callback), wrong<{ parameters: []; result: "void" }>(types)),
    undo: (result) => (result as NativeCallback).release(),
  },
  toFunction: {
    args: ({ span }) => [span, { parameters: [], result: "void" }],
    allows: [isLiveSpan, nothing],
    call: (_self, [code, types]) => toFunction(wrong(code), wrong<Signature>(types)),
  },
  "toFunction options": {
    args: ({ span }) => [span, "name", 0],
    allows: [
      isLiveSpan,
      (value) => typeof value === "string" || value === undefined,
      (value) => value === undefined || isIn(0, 127)(value),
    ],
    call: (_self, [code, name, offset]) =>
      toFunction(
        wrong(code),
        { parameters: [], result: "void" },
        { name: wrong(name), offset: wrong(offset) },
      ),
  },
  "toFunction parameters": {
    args: ({ span }) => [span, []],
    allows: [isLiveSpan, (value) => Array.isArray(value) && value.length === 0],
    call: (_self, [code, parameters]) =>
      toFunction(wrong(code), { parameters: wrong(parameters), result: "void" }),
  },
  "toFunction types": {
    args: ({ span }) => [span, "i32", "void"],
    allows: [isLiveSpan, nothing, nothing],
    call: (_self, [code, type, result]) =>
      toFunction(wrong(code), {
        parameters: [wrong<ParameterType>(type)],
        result: wrong<ResultType>(result),
      }),
  },
  "a function of i8": typed("i8", 1, isIn(-128, 127)),
  "a function of u8": typed("u8", 1, isIn(0, 255)),
  "a function of i16": typed("i16", 1, isIn(-(2 ** 15), 2 ** 15 - 1)),
  "a function of u16": typed("u16", 1, isIn(0, 2 ** 16 - 1)),
  "a function of i32": typed("i32", 1, isIn(-(2 ** 31), 2 ** 31 - 1)),
  "a function of u32": typed("u32", 1, isIn(0, 2 ** 32 - 1)),
  "a function of i64": typed("i64", 1n, isBigintIn(-(2n ** 63n), 2n ** 63n - 1n)),
  "a function of u64": typed("u64", 1n, isBigintIn(0n, 2n ** 64n - 1n)),
  "a function of f32": typed("f32", 1, isNumber),
  "a function of f64": typed("f64", 1, isNumber),
  "a function of pointer": typed("pointer", 1, isIn(0, 2 ** 53 - 1)),
  "a function of usize": typed("usize", 1, isIn(0, 2 ** 53 - 1)),
  "a function of cstring": typed(
    "cstring",
    "text",
    (value) => typeof value === "string" && !value.includes("\0"),
  ),
  "a function of buffer?": typed("buffer?", null, (value) => value === null || isBuffer(value)),
  "a function of buffer": typed("buffer", new Uint8Array(8), isBuffer),

  "VirtMem.info": plain(VirtMem.info, []),
  "VirtMem.largePageSize": plain(VirtMem.largePageSize, []),
  "VirtMem.alloc": {
    ...plain(VirtMem.alloc, [SIZE, { read: true }], isPossibleRange, isFlags),
    undo: (result, [size]) => VirtMem.release(result as number, size as number),
  },
  "VirtMem.release": virtMemAt("release", [2 ** 20, SIZE], nothing, nothing),
  "VirtMem.protect": virtMemAt("protect", [2 ** 20, SIZE, { read: true }], nothing, nothing, nothing),
  "VirtMem.allocDualMapping": {
    ...plain(VirtMem.allocDualMapping, [SIZE, {}], isPossibleRange, isFlags),
    undo: (result, [size]) =>
      VirtMem.releaseDualMapping(result as { rx: number; rw: number }, size as number),
  },
  "VirtMem.releaseDualMapping": virtMemAt(
    "releaseDualMapping",
    [{ rx: 2 ** 20, rw: 2 ** 21 }, SIZE],
    nothing,
    nothing,
  ),
  "VirtMem.read": virtMemAccess("read", [0, SIZE]),
  "VirtMem.write": virtMemAccess("write", [0, new Uint8Array(8)]),
  "VirtMem.cstring": virtMemAccess("cstring", [0]),
  "VirtMem.flushInstructionCache": plain(
    VirtMem.flushInstructionCache,
    [2 ** 20, 64],
    // x86-64 has nothing to do, and so nothing to refuse but what can be no range.
    isIn(1, 2 ** 48 - 1),
    isIn(0, 2 ** 48 - 1),
  ),
  "VirtMem.hardenedRuntimeInfo": plain(VirtMem.hardenedRuntimeInfo, []),
  "VirtMem.protectJitMemory": plain(VirtMem.protectJitMemory, ["read-execute"], isOneOf("read-execute")),
};

/** Flags are an object, and every name that is there must be a flag. */
function isFlags(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}
