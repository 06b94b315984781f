/**
 * Calls code of one signature: what its callables share, and the callables themselves.
 *
 * Native is one function for a signature and a thread. It is bound to a stub, which jumps to the address in its cell
 * (engine/stubs.ts). A callable is a closure that checks its arguments and that its span is live, stores the address of
 * its code in the cell, and calls that function. Nothing native belongs to a single callable.
 */
import { argumentNames, compile } from "../base/generated.ts";
import { isTypedArray } from "../base/intrinsics.ts";
import { platform } from "../base/platform.ts";
import type { Door, SpanOwner } from "../engine/contract.ts";
import type { Span } from "../engine/span.ts";
import { cellValue, Stubs, type Stub } from "../engine/stubs.ts";
import type { Address, NativeCallable, NativeFunction } from "../ffi/contract.ts";
import { refusedCall, systemFfi } from "../ffi/select.ts";
import { signals, throwAfterCall, throwBeforeCall } from "../link/signals.ts";
import { systemMemory } from "../vm/select.ts";
import { argumentCheck, SHORTCUTS, tooManyArguments } from "./argument-checks.ts";
import {
  argumentConversion,
  calledSignature,
  conversionText,
  receivedConversion,
  type ValueSignature,
} from "./value-types.ts";

let stubs: Stubs | undefined;

/** A stub of this thread; undefined where there can be none. */
function takeStub(): Stub | undefined {
  stubs ??= new Stubs(systemMemory(), systemFfi(), platform.processor);
  return stubs.take();
}

/** Code that can be called: a span, or an entry within one. */
export type Code = Span | Entry;

/** Code that begins behind the start of a span. */
export interface Entry {
  readonly span: Span;
  /** Bytes from the start of the span. */
  readonly offset: number;
}

/** Returns the release count of the span's allocator. @throws JitError `ERR_RELEASED` where the code is not live */
export type CheckLive = (code: Code) => number;

/** The door of the code's allocator; undefined where no other thread can release it. */
export type DoorOf = (code: Code) => Door | undefined;

/** Tells by a number that it has not changed whether code can have ended since; NaN is never the same. */
export type ReleaseCounter = Pick<SpanOwner, "releaseCount">;

/** Makes a callable; `address` is the value of a cell. Precondition: the code is live. */
type MakeCallable = (code: Code, owner: ReleaseCounter, address: number) => NativeFunction;

/** Puts the checks before the calls of a native function that reads the address of the code from `cell`. */
type Bind = (target: NativeCallable, cell: Float64Array) => MakeCallable;

/** The cell of a function that has no stub, and reads none. */
const NO_CELL = new Float64Array(1);

/** Makes the callables of one signature in one thread. */
export class Caller {
  readonly #signature: ValueSignature;
  readonly #checkLive: CheckLive;
  readonly #doorOf: DoorOf;
  readonly #take: () => Stub | undefined;
  #target: NativeCallable | undefined;
  #cell: Float64Array | undefined;
  #make: MakeCallable | undefined;
  #isFast = false;
  #bindSlow: Bind | undefined;

  /** @param take takes a stub; tests pass their own */
  constructor(signature: ValueSignature, checkLive: CheckLive, doorOf: DoorOf, take = takeStub) {
    this.#signature = signature;
    this.#doorOf = doorOf;
    this.#checkLive = checkLive;
    this.#take = take;
  }

  /** Makes a callable of the code at `rx`. @throws JitError `ERR_FEATURE_NOT_ENABLED` where native code cannot be called */
  functionOf(code: Code, owner: ReleaseCounter, rx: Address): NativeFunction {
    const make = this.#make;
    if (make !== undefined && (this.#isFast || this.#target?.fast === undefined))
      return make(code, owner, cellValue(rx));
    return this.#prepare(rx)(code, owner, cellValue(rx));
  }

  /**
   * Makes a callable with a name, which takes 0.3 µs more. Where the process was started to be profiled, the checks are
   * compiled for it alone, in some 20 µs: profilers take a function's name from its text.
   */
  namedFunctionOf(code: Code, owner: ReleaseCounter, rx: Address, name: string): NativeFunction {
    let callable = this.functionOf(code, owner, rx);
    if (platform.isProfiled && this.#target !== undefined && this.#cell !== undefined) {
      const bind = makeBind(this.#signature, this.#target, this.#checkLive, this.#doorOf, name);
      callable = bind(this.#target, this.#cell)(code, owner, cellValue(rx));
    }
    return Object.defineProperty(callable, "name", { value: name, configurable: true });
  }

  /** Makes what the callables share, or makes it anew now that there is a fast way to call. */
  #prepare(rx: Address): MakeCallable {
    if (this.#target === undefined || this.#cell === undefined) {
      const stub = this.#take();
      if (stub === undefined) {
        // No stub can be made here: the code gets a native function of its own.
        const target = systemFfi().callable(rx, calledSignature(this.#signature));
        this.#bindSlow ??= makeBind(this.#signature, target, this.#checkLive, this.#doorOf);
        return this.#bindSlow(target, NO_CELL);
      }
      const signature = calledSignature(this.#signature);
      const takingDoubles = stub.takingDoubles(signature.parameters.length);
      this.#target = systemFfi().callable(stub.address, signature, takingDoubles);
      this.#cell = stub.cell;
    }
    this.#isFast = this.#target.fast !== undefined;
    this.#make = makeBind(
      this.#signature,
      this.#target,
      this.#checkLive,
      this.#doorOf,
    )(this.#target, this.#cell);
    return this.#make;
  }
}

/** How many texts {@link makeBind} has compiled. */
let textCount = 0;

/**
 * Compiles the checks of a signature. For two parameters of the types i32 and f64, where the target has no fast way to
 * call yet, it is:
 *
 * ```text
 * return (code, owner, address) => {
 *   var releaseCount = owner.releaseCount;
 *   return (a0, a1, surplus = undefined) => {
 *     if (!(typeof a0 === "number" && (a0 | 0) === a0)) checks[0](a0);
 *     if (!(typeof a1 === "number")) checks[1](a1);
 *     if (surplus !== undefined) refuseSurplus();
 *     if (owner.releaseCount !== releaseCount) {
 *       const door = doorOf(code);
 *       if (door !== undefined) return callBehind(door, code, address, a0, a1);
 *       releaseCount = checkLive(code);
 *     }
 *     if (signals.isRaised) throwBeforeCall();
 *     let result;
 *     try {
 *       cell[0] = address;
 *       const { fast } = target;
 *       if (signals.mayCallBack) result = target.reentrant(a0, a1);
 *       else if (fast === undefined) result = target.call(a0, a1);
 *       else result = fast(a0, a1);
 *     } catch (error) {
 *       throw refusal(error);
 *     }
 *     if (signals.isRaised) throwAfterCall();
 *     return result;
 *   };
 * };
 * ```
 *
 * Where the target has one, `fast` is taken from it once. Where it has no `reentrant`, calls have nothing to choose.
 *
 * Nothing can come between the check that the span is live, the store and the jump through the cell, so that the jump
 * never leads to what was released, or to the code of another callable:
 * - The cell is this thread's alone, and nothing else writes it. JavaScript of one thread runs to its end; what is queued
 *   meanwhile (finalizers, signals, messages) runs after it.
 * - The arguments have been checked. To convert what is left, numbers, bigints and real views of memory, a foreign
 *   function interface reads no property and calls no method that a caller could have given them.
 * - A thread that is terminated on the way does not go on. Code that calls back into JavaScript has left the stub long
 *   before; so callables may be called from below each other.
 *
 * In a shared allocator another thread may release the span after the check. So `callBehind` enters first, checks then, and
 * leaves at the end: what is live behind the entry is not freed before the leave (sharing/inside.ts).
 *
 * `name` is the name that a profiler shows.
 *
 * A call looks up whether the span is live only if anything was released since the last call. The parameter `surplus`
 * catches a call with too many arguments; its default value keeps it out of the function's `length`.
 *
 * The checks cost a call little or nothing, for four reasons:
 * - Compilers leave out a branch that was never taken. `releaseCount` begins as the allocator's, since the span is known
 *   to be live then, so the first call looks nothing up.
 * - Compilers treat as a constant whatever is written once: a `const`, the fields of `signals` as long as nothing is
 *   raised (link/signals.ts), and the target's `fast`, which is added only when
 *   there is a fast way ({@link NativeCallable.fast}). A variable that is undefined at first would be loaded at each call.
 * - The count is a `var`: of a `let` that is written later, compilers check at each use that it has a value.
 * - V8 caches compiled code by its text, and would share call sites among signatures. The number makes each text unique,
 *   so that a call site only ever calls one native function.
 */
function makeBind(
  { parameters: types, result }: ValueSignature,
  { fast, reentrant }: NativeCallable,
  checkLive: CheckLive,
  doorOf: DoorOf,
  name?: string,
): Bind {
  const checks = types.map(argumentCheck);
  const refuseSurplus = (): never => {
    throw tooManyArguments(types.length);
  };
  const names = argumentNames(types.length);
  const converts = types.map(argumentConversion);
  // What is converted has a name of its own, which holds it while the code runs.
  const list = names.map((name, index) => (converts[index] === undefined ? name : `c${name}`)).join(", ");
  const conversions = names.map((name, index) =>
    converts[index] === undefined
      ? ""
      : `const c${name} = ${conversionText(types[index] ?? "void", name) ?? `converts[${index}](${name})`};`,
  );
  const receive = receivedConversion(result);
  const lines = names.map((name, index) => {
    const shortcut = SHORTCUTS[types[index] ?? "void"]?.(name);
    return `${shortcut === undefined ? "" : `if (!(${shortcut})) `}checks[${index}](${name});`;
  });
  const take = "const { fast } = target;";
  const isFast = fast !== undefined;
  const choices = [
    reentrant === undefined ? "" : `if (signals.mayCallBack) result = target.reentrant(${list}); else`,
    isFast ? "" : `if (fast === undefined) result = target.call(${list}); else`,
    `result = fast(${list});`,
  ];
  // As JSON any name is a literal, and nothing but that.
  const literal = JSON.stringify(name ?? "");
  const [named, end] = name === undefined ? ["", ""] : [`({ ${literal}: `, ` })[${literal}]`];
  const parts = ["door", "code", "address", ...(list === "" ? [] : [list])].join(", ");
  const call = `
          if (signals.isRaised) throwBeforeCall();
          let result;
          try {
            cell[0] = address;
            ${isFast ? "" : take}
            ${choices.join("\n")}
          } catch (error) {
            throw refusal(error);
          }
          if (signals.isRaised) throwAfterCall();
          return ${receive === undefined ? "result" : "receive(result)"};`;
  const make = compile<(...values: unknown[]) => Bind>(
    [
      ...["checks", "refuseSurplus", "checkLive", "doorOf", "isTypedArray"],
      ...["signals", "throwBeforeCall", "throwAfterCall", "refusal", "converts", "receive"],
    ],
    `return (target, cell) => {
      ${isFast ? take : ""}
      const callBehind = (${parts}) => {
        door.enter();
        try {
          checkLive(code);
          ${call}
        } finally {
          door.leave();
        }
      };
      return (code, owner, address) => {
        var releaseCount = owner.releaseCount;
        return ${named}(${[...names, "surplus = undefined"].join(", ")}) => {
          ${lines.join("\n")}
          if (surplus !== undefined) refuseSurplus();
          ${conversions.join(" ")}
          if (owner.releaseCount !== releaseCount) {
            const door = doorOf(code);
            if (door !== undefined) return callBehind(${parts});
            releaseCount = checkLive(code);
          }
          ${call}
        }${end};
      };
    }; // ${textCount++}`,
  );
  if (make !== undefined) {
    return make(
      ...[checks, refuseSurplus, checkLive, doorOf, isTypedArray],
      ...[signals, throwBeforeCall, throwAfterCall, refusal, converts, receive],
    );
  }
  return bindSlowly(checks, converts, receive, refuseSurplus, checkLive, doorOf);
}

/** {@link makeBind} where the process may not compile text. */
function bindSlowly(
  checks: readonly ((value: unknown) => void)[],
  converts: readonly (((value: unknown) => unknown) | undefined)[],
  receive: ((value: unknown) => unknown) | undefined,
  refuseSurplus: () => never,
  checkLive: CheckLive,
  doorOf: DoorOf,
): Bind {
  return (target, cell) => (code, _owner, address) => {
    const callable: NativeFunction = (...args) => {
      for (const [index, check] of checks.entries()) check(args[index]);
      if (args[checks.length] !== undefined) refuseSurplus();
      const converted = args.map((value, index) => converts[index]?.(value) ?? value);
      const door = doorOf(code);
      door?.enter();
      try {
        checkLive(code);
        if (signals.isRaised) throwBeforeCall();
        let result: unknown;
        try {
          cell[0] = address;
          result = callOf(target)(...converted);
        } catch (error) {
          throw refusal(error);
        }
        if (signals.isRaised) throwAfterCall();
        return receive === undefined ? result : receive(result);
      } finally {
        door?.leave();
      }
    };
    return Object.defineProperty(callable, "length", { value: checks.length });
  };
}

/** The way to call, as {@link makeBind} chooses it. */
function callOf({ call, fast = call, reentrant = fast }: NativeCallable): NativeFunction {
  return signals.mayCallBack ? reentrant : fast;
}

/** What a call throws that the interface refused. An error of a callback comes first: it may be the cause. */
function refusal(error: unknown): unknown {
  if (signals.isRaised) throwAfterCall();
  return refusedCall(error);
}
