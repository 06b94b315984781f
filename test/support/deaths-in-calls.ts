/**
 * A thread that dies in the middle of mapping or unmapping on a fake system: at each of its native calls, before and behind
 * it, and at each of its writes to the journal. Another thread then gives back what is left.
 */
import assert from "node:assert/strict";
import type { MappedRange, MappingJournals, MappingTag, VirtualMemory } from "../../src/vm/contract.ts";
import { Journal } from "../../src/vm/journal.ts";
import type { Noting } from "../../src/vm/noter.ts";
import { fakeNoting, WITHOUT_ROUTINE } from "./fake-noting.ts";
import { Fate, watched } from "./mortal-thread.ts";

const TAG_NAME = "abc";
const INTEGERS = 112;
/** Anywhere but at the beginning. */
const START = 32;

/** A fake system, and how memory is made on it. */
export interface MortalSystem<System extends object> {
  readonly system: System;
  /** The functions that are called through the routine. */
  readonly noted: readonly string[];
  /** The memory of a thread that sees the system through `seen`. */
  open(seen: System, noting: Noting<unknown>): VirtualMemory;
  /** What is there, as text. */
  leftovers(): string[];
  /** Somebody else maps something wherever there is nothing of what was there; returns whether it is all still there. */
  occupy(before: readonly string[]): () => boolean;
}

/** What the thread does that dies. */
export interface MortalDeed {
  /** Made before, and kept. */
  readonly prepare?: (memory: VirtualMemory, tag: MappingTag) => readonly MappedRange[];
  readonly run: (
    memory: VirtualMemory,
    tag: MappingTag,
    journal: Journal,
    kept: readonly MappedRange[],
  ) => void;
  /** Whether what was prepared is given back, and is nobody's after the thread has died. */
  readonly givesBack?: true;
}

/** Ends the deed at each of its moments. Returns how often, and how much was left at the most. */
export function everyDeath<System extends object>(
  start: () => MortalSystem<System>,
  deed: MortalDeed,
  hasRoutine: boolean,
): { deaths: number; left: readonly string[] } {
  let left: readonly string[] = [];
  for (let fatal = 1; ; fatal++) {
    const found = dieAt(start(), deed, hasRoutine, fatal);
    if (found === undefined) return { deaths: fatal - 1, left };
    if (found.length > left.length) left = found;
  }
}

function dieAt<System extends object>(
  machine: MortalSystem<System>,
  deed: MortalDeed,
  hasRoutine: boolean,
  fatal: number,
): readonly string[] | undefined {
  const buffer = new SharedArrayBuffer((START + INTEGERS) * 4);
  const words = new Int32Array(buffer);
  const doubles = new Float64Array(buffer);
  const fate = new Fate(() => undefined);
  const around = <T>(act: () => T): T => {
    fate.pass();
    const result = act();
    fate.pass();
    return result;
  };
  const notingOf = (wrap?: typeof around): Noting<unknown> =>
    hasRoutine ? fakeNoting(machine.noted, machine.system, wrap) : WITHOUT_ROUTINE;
  const memory = machine.open(mortal(machine.system, around), notingOf(around));
  const range = { start: START, integers: INTEGERS };
  const journal = journalsOf(memory).openJournal(
    { words: watched(words, fate), doubles: watched(doubles, fate), ...range },
    true,
  );
  assert.ok(journal instanceof Journal);
  const tag = { name: TAG_NAME, isGuarded: true, journal };
  const ranges = deed.prepare?.(memory, tag) ?? [];
  journal.drop(ranges);
  const before = machine.leftovers();
  fate.arm(fatal);
  try {
    deed.run(memory, tag, journal, ranges);
    return undefined;
  } catch (error) {
    if (!fate.isDead) throw error;
  }
  const isUntouched = machine.occupy(before);
  const other = machine.open(machine.system, notingOf());
  const inherited = journalsOf(other).openJournal({ words, doubles, ...range }, false);
  const leaving = deed.givesBack === true ? (ranges[0]?.address ?? 0) : 0;
  if (leaving !== 0 && inherited.leaving !== leaving) inherited.take(ranges, leaving);
  const kept = leaving === 0 ? ranges : [];
  journalsOf(other).reclaim(TAG_NAME, kept, inherited);
  inherited.drop(kept);
  assert.ok(isUntouched(), `what somebody else has mapped is gone, after the death at moment ${fatal}`);
  return machine.leftovers().filter((text) => leaving !== 0 || !before.includes(text));
}

function journalsOf(memory: VirtualMemory): MappingJournals {
  const journals = memory.sharing ?? memory.journals;
  assert.ok(journals);
  return journals;
}

/** The same system, of which each call has a moment before and one behind it. */
function mortal<System extends object>(system: System, around: <T>(act: () => T) => T): System {
  return new Proxy(system, {
    get: (_, key) => {
      const value: unknown = Reflect.get(system, key, system);
      if (typeof value !== "function") return value;
      return (...args: readonly unknown[]) => around((): unknown => Reflect.apply(value, system, args));
    },
  });
}
