/** A row of the table of semantics as a test that runs in every configuration where it can differ. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { JitAllocator, type JitAllocatorOptions, type ResolvedJitAllocatorOptions } from "../../src/index.ts";
import type { VirtualMemory } from "../../src/vm/contract.ts";
import { systemMemory } from "../../src/vm/select.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { combine, everyConfiguration, type Axes, type Configuration } from "./config.ts";

/** What the body of a row gets: a fresh allocator, disposed of after the body. */
export interface Setting<M extends VirtualMemory = SimulatedMemory> {
  readonly allocator: JitAllocator;
  readonly memory: M;
  readonly options: Readonly<ResolvedJitAllocatorOptions>;
  /** Bytes of padding at the start of a block of the first pool. */
  readonly paddingSize: number;
}

/** Runs the body on simulated memory in every configuration of `axes` over all the others. */
export function row(title: string, axes: Axes, body: (setting: Setting) => void): void {
  test(title, () => runEach(everyConfiguration(axes), () => new SimulatedMemory(), body));
}

/** Runs the body on simulated memory in the combinations of `axes` alone. */
export function rowIn(title: string, axes: Axes, body: (setting: Setting) => void): void {
  test(title, () => runEach(combine(axes), () => new SimulatedMemory(), body));
}

/** The options that change what happens to real memory. */
const REAL_AXES: Axes = {
  useDualMapping: [true, false],
  useMultiplePools: [false, true],
  fillUnusedMemory: [false, true],
};

/** Runs the body on this machine's own memory, in every combination that changes what happens to it. */
export function rowOnRealMemory(
  title: string,
  axes: Axes,
  body: (setting: Setting<VirtualMemory>) => void,
): void {
  test(title, () => runEach(combine({ ...REAL_AXES, ...axes }), systemMemory, body));
}

function runEach<M extends VirtualMemory>(
  configurations: readonly Configuration[],
  makeMemory: () => M,
  body: (setting: Setting<M>) => void,
): void {
  for (const configuration of configurations) {
    const memory = makeMemory();
    const allocator = new JitAllocator(configuration.options, memory);
    try {
      const { options } = allocator;
      body({
        allocator,
        memory,
        options,
        paddingSize: options.disableInitialPadding ? 0 : options.granularity,
      });
      allocator.verify();
    } catch (error) {
      throw inConfiguration(configuration, error);
    } finally {
      allocator[Symbol.dispose]();
    }
  }
}

function inConfiguration(configuration: Configuration, error: unknown): Error {
  if (!(error instanceof Error)) return new Error(`In ${configuration.name}: ${String(error)}`);
  // The name goes into message and stack themselves: reporters print those, and not every one prints causes.
  error.message = `In ${configuration.name}: ${error.message}`;
  if (error.stack !== undefined) error.stack = `In ${configuration.name}: ${error.stack}`;
  return error;
}

/** Makes an allocator, on simulated memory unless told otherwise, and disposes of it after `body`. */
export function withAllocator(
  options: JitAllocatorOptions,
  body: (allocator: JitAllocator) => void,
  memory: VirtualMemory = new SimulatedMemory(),
): void {
  const allocator = new JitAllocator(options, memory);
  try {
    body(allocator);
  } finally {
    allocator[Symbol.dispose]();
  }
}

/** A copy of what lies at an address, as the processor would read it there; by a native call, so that no view is needed. */
export function bytesAt(memory: VirtualMemory, address: number, sizeBytes: number): Uint8Array {
  const copy = new Uint8Array(sizeBytes);
  memory.copyOut(address, copy);
  return copy;
}

/** The granularity of the pool a size belongs to: the largest that divides the rounded size. */
export function poolGranularity(options: Readonly<ResolvedJitAllocatorOptions>, sizeBytes: number): number {
  const rounded = roundUp(sizeBytes, options.granularity);
  if (!options.useMultiplePools) return options.granularity;
  if (rounded % (options.granularity * 4) === 0) return options.granularity * 4;
  if (rounded % (options.granularity * 2) === 0) return options.granularity * 2;
  return options.granularity;
}

/** The smallest multiple of `unit` that is not below `value`. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** The bytes of {@link someBytes} repeat after so many. */
const PERIOD = 127;
/** Bytes that follow each other, kept because tests ask for them by the million; enough for all but a few. */
const KEPT_BYTES = byteSequence(64 * 1024 + PERIOD, 0);

/** `length` bytes that differ from each other, from zero and from every fill pattern in use. */
export function someBytes(length: number, start = 1): Uint8Array {
  // The sequence from `start` is that from 0, begun where it comes to `start`: 109 * 7 is 1 modulo the period.
  const offset = (start * 109) % PERIOD;
  return offset + length <= KEPT_BYTES.length
    ? KEPT_BYTES.slice(offset, offset + length)
    : byteSequence(length, start);
}

function byteSequence(length: number, start: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => ((start + index * 7) % PERIOD) + 1);
}

/** Asserts that all bytes repeat the 32-bit pattern as the processor lays it out in memory (little-endian). */
export function assertFilled(bytes: Uint8Array, pattern: number, what: string): void {
  for (let index = 0; index < bytes.length; index++) {
    const expected = (pattern >>> (8 * (index & 3))) & 0xff;
    if (bytes[index] !== expected) {
      assert.fail(
        `${what}: byte ${index} of ${bytes.length} is ${bytes[index]}, the pattern says ${expected}`,
      );
    }
  }
}
