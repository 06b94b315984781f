/**
 * Lets others know what an allocator does, for as long as they want to. The operations of the allocator that is observed
 * are replaced by ones that tell of what they did. So an allocator that nobody observes is as fast as if there were no
 * observers: it has no field for them, and asks for none.
 *
 * What is observed is the object that callers call: in a shared allocator the operations of this thread, told of after the
 * lock is free again, or before it is taken.
 */
import { needMuchStack } from "../base/stack.ts";
import { quietly } from "../base/diagnostics.ts";
import type { Address } from "../ffi/contract.ts";
import type { Observer, SpanOwner } from "./contract.ts";
import { kindName, kindNumber } from "./kinds.ts";
import type { KindNumber, SpanKind } from "./kinds.ts";
import type { AllocatorOperations } from "./operations.ts";
import { spanAccess } from "./span.ts";
import type { Span } from "./span.ts";

const { rx: rxOf, block: blockOf, isSpan } = spanAccess;

/** Who observes the operations of an allocator. */
interface Observation {
  observers: readonly Observer[];
  /** Whether an observed operation is running: what it does by other operations is not told twice. */
  isInside: boolean;
  /** The allocation that the observed operation makes, until observers have been told of it. */
  untold?: { readonly size: number; readonly kind: SpanKind } | undefined;
  /** The operations that were replaced, in this order. */
  readonly replaced: (keyof AllocatorOperations)[];
}

const CODE = kindNumber("code");

const observations = new WeakMap<SpanOwner, Observation>();

/** Tells an observer of the operations from now on. */
export function observe(operations: AllocatorOperations, observer: Observer): void {
  const observation = observations.get(operations) ?? { observers: [], isInside: false, replaced: [] };
  observation.observers = [...observation.observers, observer];
  if (!observations.has(operations)) {
    observations.set(operations, observation);
    replaceEnds(operations, observation);
  }
  if (observer.allocated !== undefined && !observation.replaced.includes("alloc")) {
    replaceAllocations(operations, observation);
    replaceShrinks(operations, observation);
  }
}

/** Tells an observer nothing any more. Once nobody is left, the operations are what they were. */
export function unobserve(operations: AllocatorOperations, observer: Observer): void {
  const observation = observations.get(operations);
  if (observation === undefined) return;
  observation.observers = observation.observers.filter((each) => each !== observer);
  if (observation.observers.length > 0) return;
  observations.delete(operations);
  // The last one first: so the engine gives the object back the layout that it had, and with it compiled code that it knows.
  for (const name of observation.replaced.reverse()) Reflect.deleteProperty(operations, name);
}

/** Lets the observers of an allocator observe the object that takes over its spans: it has just been shared. */
export function moveObservers(from: SpanOwner, to: SpanOwner): void {
  const observation = observations.get(from);
  if (observation === undefined) return;
  for (const observer of observation.observers) {
    from.unobserve(observer);
    to.observe(observer);
  }
}

function tellAllocated(observation: Observation, rx: Address): void {
  const { untold } = observation;
  if (untold === undefined) return;
  observation.untold = undefined;
  for (const observer of observation.observers) observer.allocated?.(rx, untold.size, untold.kind);
}

/**
 * Tells of the allocation that an operation has just made before the operation is over: the program is about to be called,
 * and may use the allocator.
 */
export function tellBeforeOthers(span: Span): void {
  const observation = observations.get(blockOf(span).owner);
  if (observation?.untold === undefined) return;
  observation.isInside = false;
  tellAllocated(observation, rxOf(span));
}

function replaceAllocations(operations: AllocatorOperations, observation: Observation): void {
  const run = <Made extends Span | Address>(size: number, kind: KindNumber, act: () => Made): Made => {
    if (observation.isInside) return act();
    needMuchStack();
    observation.isInside = true;
    observation.untold = { size, kind: kindName(kind) };
    let made: Made;
    try {
      made = act();
    } catch (error) {
      // The allocation around this one, whose listener to pressure has called it, was told of, and is not told again.
      observation.untold = undefined;
      throw error;
    } finally {
      observation.isInside = false;
    }
    tellAllocated(observation, startOf(made));
    return made;
  };
  const alloc = operations.alloc.bind(operations);
  operations.alloc = (size) => run(size, CODE, () => alloc(size));
  const allocOf = operations.allocOf.bind(operations);
  operations.allocOf = (size, kind, mustSucceed) => run(size, kind, () => allocOf(size, kind, mustSucceed));
  const allocCode = operations.allocCode.bind(operations);
  operations.allocCode = (code, size, mustSucceed) =>
    run(size, CODE, () => allocCode(code, size, mustSucceed));
  const allocAddress = operations.allocAddress.bind(operations);
  operations.allocAddress = (size) => run(size, CODE, () => allocAddress(size));
  const allocPart = operations.allocPart.bind(operations);
  operations.allocPart = (ticket, size, kind, mustSucceed) =>
    run(size, kind, () => allocPart(ticket, size, kind, mustSucceed));
  observation.replaced.push("alloc", "allocOf", "allocCode", "allocAddress", "allocPart");
}

/** Shrinks that are no release, by the callback of a write. */
function replaceShrinks(operations: AllocatorOperations, observation: Observation): void {
  const writeBack = operations.writeBack.bind(operations);
  operations.writeBack = (span, code, kept, policy) => {
    const isInside = observation.isInside;
    observation.isInside = true;
    try {
      writeBack(span, code, kept, policy);
    } finally {
      observation.isInside = isInside;
    }
    if (isInside || typeof kept !== "number") return;
    for (const observer of observation.observers) observer.shrunk?.(rxOf(span), kept);
  };
  observation.replaced.push("writeBack");
}

function replaceEnds(operations: AllocatorOperations, observation: Observation): void {
  /**
   * Runs an operation that ends allocations: tells of it before and behind. One that throws may have ended some of many.
   * @param findStarts finds which ones are to end; undefined: all
   */
  const run = (
    act: () => void,
    findStarts: (() => readonly Address[]) | undefined,
    tell: (observer: Observer) => void,
    hasMany = false,
  ): void => {
    if (observation.isInside) {
      act();
      return;
    }
    needMuchStack();
    const early = observation.observers.filter((each) => each.ending !== undefined);
    const starts = early.length === 0 ? [] : findStarts?.();
    for (const observer of early) observer.ending?.(starts);
    observation.isInside = true;
    let isDone = false;
    try {
      act();
      isDone = true;
    } finally {
      observation.isInside = false;
      for (const observer of observation.observers) {
        if (isDone) tell(observer);
        else observer.failed?.(starts);
        if (!isDone && hasMany) observer.ended(undefined);
      }
    }
  };
  const liveStart = (target: unknown): readonly Address[] => {
    const start = findLive(operations, target);
    return start === undefined ? [] : [start];
  };
  const release = operations.release.bind(operations);
  operations.release = (target) => {
    run(
      () => release(target),
      () => liveStart(target),
      (observer) => observer.ended(startOf(target)),
    );
  };
  const releaseIfLive = operations.releaseIfLive.bind(operations);
  operations.releaseIfLive = (span: Span) => {
    if (!operations.isLive(span)) return;
    run(
      () => releaseIfLive(span),
      () => liveStart(span),
      (observer) => observer.ended(rxOf(span)),
    );
  };
  const shrink = operations.shrink.bind(operations);
  operations.shrink = (target, newSize) => {
    run(
      () => shrink(target, newSize),
      () => (newSize === 0 ? liveStart(target) : []),
      (observer) => {
        if (newSize === 0) observer.ended(startOf(target));
        else observer.shrunk?.(startOf(target), newSize);
      },
    );
  };
  const releaseModule = operations.releaseModule.bind(operations);
  operations.releaseModule = (ticket, spans) => {
    run(
      () => releaseModule(ticket, spans),
      () => spans.flatMap(liveStart),
      (observer) => {
        for (const span of spans) observer.ended(rxOf(span));
      },
      true,
    );
  };
  const reset = operations.reset.bind(operations);
  operations.reset = (policy) =>
    run(
      () => reset(policy),
      undefined,
      (observer) => observer.ended(undefined, "reset"),
      true,
    );
  const dispose = operations.dispose.bind(operations);
  operations.dispose = () =>
    run(dispose, undefined, (observer) => observer.ended(undefined, "dispose"), true);
  observation.replaced.push("release", "releaseIfLive", "shrink", "releaseModule", "reset", "dispose");
}

/** Where the live allocation begins that an operation was asked to end; undefined where it will be refused. */
function findLive(operations: AllocatorOperations, target: unknown): Address | undefined {
  if (typeof target !== "number") {
    const isOwn = isSpan(target) && blockOf(target).owner === operations && operations.isLive(target);
    return isOwn ? rxOf(target) : undefined;
  }
  try {
    return quietly(() => operations.queryAddress(target)) === target ? target : undefined;
  } catch {
    return undefined;
  }
}

function startOf(target: Span | Address): Address {
  return typeof target === "number" ? target : rxOf(target);
}
