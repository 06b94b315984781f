/**
 * Runs in a process of its own, started with --jitless: no mapping of such a process is writable and executable, so
 * that any that appears is this library's. Reads the process's state after every call of the system and every step.
 * Prints what it saw as JSON; throws where something is not right.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { JitAllocator, toFunction, type JitAllocatorOptions } from "../../src/index.ts";
import type { VirtualMemory } from "../../src/vm/contract.ts";
import { systemMemory } from "../../src/vm/select.ts";
import { ADD, RUNS_HERE } from "../support/native-code.ts";
import { Random } from "../support/random.ts";

/** Enough for blocks to come, grow and go; the maps are read after each step. */
const STEP_COUNT = 400;

let looks = 0;

/** Asserts that nothing is writable and executable now. */
function look(): void {
  looks++;
  const guilty = readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .filter((line) => /^\S+ .wx/.test(line));
  assert.deepEqual(guilty, [], "a mapping is writable and executable");
}

/** The system's memory, looked at after each call of it. */
function watched(memory: VirtualMemory): VirtualMemory {
  return new Proxy(memory, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        const result: unknown = Reflect.apply(value, target, args);
        look();
        return result;
      };
    },
  });
}

function work(options: JitAllocatorOptions): void {
  const random = new Random(3);
  const allocator = new JitAllocator(options, watched(systemMemory()));
  const live = [allocator.alloc(64)];
  for (let step = 0; step < STEP_COUNT; step++) {
    const span = live[random.below(live.length)];
    if (span === undefined || random.chance(0.6)) {
      const made = allocator.alloc(random.between(1, 20_000));
      made.write(0, ADD);
      if (RUNS_HERE)
        assert.equal(toFunction(made, { parameters: ["i32", "i32"], result: "i32" })(step, 1), step + 1);
      live.push(made);
    } else if (random.chance(0.3)) {
      allocator.write(span, (code) => {
        look();
        return Math.max(1, code.length >> 1);
      });
    } else {
      span.release();
      live.splice(live.indexOf(span), 1);
    }
    look();
    if (step === STEP_COUNT >> 1) {
      allocator.reset("soft");
      live.length = 0;
      look();
    }
  }
  allocator.reset("hard");
  look();
  allocator[Symbol.dispose]();
  look();
}

look();
work({});
work({ fillUnusedMemory: true, useMultiplePools: true });
work({ immediateRelease: true });
work({ useLargePages: true, alignBlockSizeToLargePage: true });
console.log(JSON.stringify({ looks }));
