/**
 * The rule by which retired code is freed (sharing/inside.ts), as a model small enough to be searched whole: two threads that
 * enter, run and leave, twice each, and one that retires what they run and uses its place again. A thread's stores are seen by
 * the others late, in their order, as processors do it; the barrier makes all of them seen. Every interleaving is tried. That
 * the search can fail is seen by mistakes that it must find.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eraAfter, isSince } from "../../src/sharing/inside.ts";

/** What can be done wrong. */
type Mistake =
  | "no barrier"
  | "the barrier comes before the end"
  | "the era is read after the check"
  | "the place is written after the check"
  | "the era stands still"
  | "an inner call clears the place"
  | "places of the same era count as later"
  | "it is freed before anybody looks";

/** A thread that enters: its own registers, its place in memory, and its stores that nobody has seen yet. */
interface Runner {
  step: number;
  rounds: number;
  era: number;
  /** The place, as the others see it, and what it will be when its stores are seen. */
  place: number;
  late: number[];
  /** The generation of the code that it is running; 0 = none. */
  runs: number;
}

interface Machine {
  era: number;
  /** The generation of the code at the address, as the ledger says; 0 = ended. */
  ledger: number;
  /** The generation whose bytes are there: what runs must be this one. */
  bytes: number;
  retirer: number;
  awaited: number;
  retired: number;
  runners: Runner[];
}

/** So often each thread enters, and so many times code is retired and its place used again. */
const ROUNDS = 2;
const REUSES = 2;

function begin(): Machine {
  const runner = (): Runner => ({ step: 0, rounds: 0, era: 0, place: 0, late: [], runs: 0 });
  return { era: 1, ledger: 1, bytes: 1, retirer: 0, awaited: 0, retired: 0, runners: [runner(), runner()] };
}

function isEntered(runner: Runner): number {
  return runner.late.at(-1) ?? runner.place;
}

/** The next step of a runner; undefined where it is done. */
function stepOf(machine: Machine, index: number, mistake: Mistake | undefined): (() => void) | undefined {
  const runner = machine.runners[index];
  assert.ok(runner);
  const readEra = (): void => void (runner.era = machine.era);
  const note = (): void => void runner.late.push(runner.era);
  const check = (): void => void (runner.runs = machine.ledger);
  const call = (): void => {
    if (mistake === "an inner call clears the place" && runner.runs !== 0) runner.late.push(0);
  };
  const run = (): void => {
    // What is run is what the thread has found live: it is still there.
    assert.ok(runner.runs === 0 || runner.runs === machine.bytes, "code was freed while it runs");
  };
  const end = (): void => {
    run();
    runner.runs = 0;
  };
  const leave = (): void => {
    if (isEntered(runner) !== 0) runner.late.push(0);
    runner.rounds += 1;
    runner.step = -1;
  };
  const steps =
    mistake === "the era is read after the check"
      ? [check, readEra, note, call, run, end, leave]
      : mistake === "the place is written after the check"
        ? [readEra, check, note, call, run, end, leave]
        : [readEra, note, check, call, run, end, leave];
  if (runner.rounds === ROUNDS) return undefined;
  return () => {
    steps[runner.step]?.();
    runner.step += 1;
  };
}

function isOccupied({ runners, awaited }: Machine, mistake: Mistake | undefined): boolean {
  if (mistake === "it is freed before anybody looks") return false;
  const era = mistake === "places of the same era count as later" ? awaited - 1 : awaited;
  return runners.some(({ place }) => place !== 0 && isSince(place, era));
}

function retire(machine: Machine, mistake: Mistake | undefined): (() => void) | undefined {
  if (machine.retired === REUSES) return undefined;
  const end = (): void => void (machine.ledger = 0);
  const barrier = (): void => {
    if (mistake === "no barrier") return;
    for (const runner of machine.runners) {
      runner.place = isEntered(runner);
      runner.late = [];
    }
  };
  const close = (): void => {
    machine.awaited = machine.era;
    if (mistake !== "the era stands still") machine.era = eraAfter(machine.era);
  };
  const reuse = (): void => {
    if (isOccupied(machine, mistake)) {
      machine.retirer -= 1; // looks again
      return;
    }
    machine.retired += 1;
    machine.bytes += 1;
    machine.ledger = machine.bytes;
    machine.retirer = -1;
  };
  const steps =
    mistake === "the barrier comes before the end"
      ? [barrier, end, close, reuse]
      : [end, barrier, close, reuse];
  return () => {
    steps[machine.retirer]?.();
    machine.retirer += 1;
  };
}

/** Tries every interleaving. Returns the number of states. @throws AssertionError where running code was freed */
function search(mistake?: Mistake): number {
  const seen = new Set<string>();
  const open = [JSON.stringify(begin())];
  for (let text = open.pop(); text !== undefined; text = open.pop()) {
    if (seen.has(text)) continue;
    seen.add(text);
    const tryStep = (choose: (machine: Machine) => (() => void) | undefined): void => {
      const machine = JSON.parse(text) as Machine;
      const step = choose(machine);
      if (step === undefined) return;
      step();
      open.push(JSON.stringify(machine));
    };
    tryStep((machine) => retire(machine, mistake));
    for (const index of [0, 1]) {
      tryStep((machine) => stepOf(machine, index, mistake));
      // The oldest store of the thread is seen.
      tryStep((machine) => {
        const runner = machine.runners[index];
        const [store] = runner?.late ?? [];
        if (runner === undefined || store === undefined) return undefined;
        return () => {
          runner.place = store;
          runner.late.shift();
        };
      });
    }
  }
  return seen.size;
}

describe("a model of the eras, searched whole", () => {
  test("nothing is freed while it runs, in any interleaving", () => {
    assert.ok(search() > 10_000, "the model has that many states");
  });

  const mistakes: readonly Mistake[] = [
    "no barrier",
    "the barrier comes before the end",
    "the era is read after the check",
    "the place is written after the check",
    "an inner call clears the place",
    "places of the same era count as later",
    "it is freed before anybody looks",
  ];
  for (const mistake of mistakes) {
    test(`the search finds a mistake: ${mistake}`, () => {
      assert.throws(() => search(mistake), /code was freed while it runs/);
    });
  }

  test("eras go round, past 0, and are compared by their difference", () => {
    assert.equal(eraAfter(1), 2);
    assert.equal(eraAfter(2 ** 31 - 1), -(2 ** 31));
    assert.equal(eraAfter(-1), 1);
    assert.ok(isSince(5, 5) && isSince(4, 5) && !isSince(6, 5));
    assert.ok(isSince(2 ** 31 - 1, -(2 ** 31)) && !isSince(-(2 ** 31), 2 ** 31 - 1));
  });
});
