/**
 * Lets others know what an allocator does, for as long as they want to. The operations of the allocator that is observed
 * are replaced by ones that tell of what they did. So an allocator that nobody observes is as fast as if there were no
 * observers: it has no field for them, and asks for none.
 *
 * What is observed is the object that callers call: in a shared allocator the operations of this thread, told of after the
 * lock is free again.
 */
import type { Address } from "../ffi/contract.ts";
import type { Observer, SpanOwner } from "./contract.ts";
import type { AllocatorOperations } from "./operations.ts";
import { spanAccess } from "./span.ts";
import type { Span } from "./span.ts";

const { rx: rxOf } = spanAccess;

/** Who observes the operations of an allocator. */
interface Observation {
  observers: readonly Observer[];
  /** Whether an observed operation is running: what it does by other operations is not told twice. */
  isInside: boolean;
}

const observations = new WeakMap<SpanOwner, Observation>();

/** Tells an observer of the operations from now on. */
export function observe(operations: AllocatorOperations, observer: Observer): void {
  const known = observations.get(operations);
  if (known !== undefined) {
    known.observers = [...known.observers, observer];
    return;
  }
  const observation: Observation = { observers: [observer], isInside: false };
  observations.set(operations, observation);
  replaceOperations(operations, observation);
}

/** Lets the observers of an allocator observe the object that takes over its spans: it has just been shared. */
export function moveObservers(from: SpanOwner, to: SpanOwner): void {
  const observation = observations.get(from);
  if (observation === undefined) return;
  const { observers } = observation;
  observation.observers = [];
  for (const observer of observers) to.observe(observer);
}

function replaceOperations(operations: AllocatorOperations, observation: Observation): void {
  /** Runs an operation, and then tells of it. One that throws may have ended some of many allocations. */
  const run = (act: () => void, tell: (observer: Observer) => void, hasMany = false): void => {
    if (observation.isInside) {
      act();
      return;
    }
    observation.isInside = true;
    let isDone = false;
    try {
      act();
      isDone = true;
    } finally {
      observation.isInside = false;
      if (isDone) observation.observers.forEach(tell);
      else if (hasMany) for (const observer of observation.observers) observer.ended(undefined);
    }
  };
  const release = operations.release.bind(operations);
  operations.release = (target) => {
    run(
      () => release(target),
      (observer) => observer.ended(startOf(target)),
    );
  };
  const releaseIfLive = operations.releaseIfLive.bind(operations);
  operations.releaseIfLive = (span: Span) => {
    if (!operations.isLive(span)) return;
    run(
      () => releaseIfLive(span),
      (observer) => observer.ended(rxOf(span)),
    );
  };
  const shrink = operations.shrink.bind(operations);
  operations.shrink = (target, newSize) => {
    run(
      () => shrink(target, newSize),
      (observer) => {
        if (newSize === 0) observer.ended(startOf(target));
      },
    );
  };
  const releaseModule = operations.releaseModule.bind(operations);
  operations.releaseModule = (ticket, spans) => {
    run(
      () => releaseModule(ticket, spans),
      (observer) => {
        for (const span of spans) observer.ended(rxOf(span));
      },
      true,
    );
  };
  const tellOfMany = (observer: Observer): void => observer.ended(undefined);
  const reset = operations.reset.bind(operations);
  operations.reset = (policy) => run(() => reset(policy), tellOfMany, true);
  const dispose = operations.dispose.bind(operations);
  operations.dispose = () => run(dispose, tellOfMany, true);
}

function startOf(target: Span | Address): Address {
  return typeof target === "number" ? target : rxOf(target);
}
