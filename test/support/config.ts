/** The configurations in which the tests run the allocator. */
import type { JitAllocatorOptions } from "../../src/index.ts";

/** Allocator options and the name a failure shows them by. */
export interface Configuration {
  readonly name: string;
  readonly options: JitAllocatorOptions;
}

/** For each option of interest, the values to combine. */
export type Axes = {
  readonly [K in keyof JitAllocatorOptions]?: readonly Exclude<JitAllocatorOptions[K], undefined>[];
};

/** The options that decide where things go, each with all of its values: 96 combinations. */
export const EVERY_AXIS: Axes = {
  useDualMapping: [true, false],
  useMultiplePools: [false, true],
  granularity: [64, 128, 256],
  fillUnusedMemory: [false, true],
  immediateRelease: [false, true],
  disableInitialPadding: [false, true],
};

/** Every combination of the values of `axes`, and of {@link EVERY_AXIS} where `axes` names no values for an option. */
export function everyConfiguration(axes: Axes = {}): readonly Configuration[] {
  return combine({ ...EVERY_AXIS, ...axes });
}

/** Every combination of the values of `axes`, and of nothing else. */
export function combine(axes: Axes): readonly Configuration[] {
  let combinations: JitAllocatorOptions[] = [{}];
  for (const [option, values] of Object.entries(axes)) {
    combinations = combinations.flatMap((options) =>
      values.map((value) => ({ ...options, [option]: value })),
    );
  }
  return combinations.map((options) => ({ name: describeOptions(options), options }));
}

/** `{ useDualMapping: false, granularity: 128 }`, for messages. */
export function describeOptions(options: JitAllocatorOptions): string {
  const entries = Object.entries(options).map(([option, value]) => `${option}: ${String(value)}`);
  return entries.length === 0 ? "{}" : `{ ${entries.join(", ")} }`;
}

/** The twelve configurations of asmjit's own unit test. */
export const UNIT_TEST_CONFIGURATIONS: readonly Configuration[] = [
  { name: "default", options: {} },
  { name: "16 MiB blocks", options: { blockSize: 16 * 1024 * 1024 } },
  { name: "256 B granularity", options: { granularity: 256 } },
  { name: "multiple pools", options: { useMultiplePools: true } },
  { name: "fill", options: { fillUnusedMemory: true } },
  { name: "immediate release", options: { immediateRelease: true } },
  { name: "no padding", options: { disableInitialPadding: true } },
  { name: "large pages", options: { useLargePages: true } },
  { name: "large pages + fill", options: { useLargePages: true, fillUnusedMemory: true } },
  {
    name: "large pages + aligned block size",
    options: { useLargePages: true, alignBlockSizeToLargePage: true },
  },
  { name: "dual mapping off", options: { useDualMapping: false } },
  { name: "dual mapping off + fill", options: { useDualMapping: false, fillUnusedMemory: true } },
];
