/** Every option of the allocator as a flag of the command line: `useDualMapping` is `--use-dual-mapping`. */
import type { JitAllocatorOptions } from "../index.ts";
import { UsageError } from "./args.ts";

/** The description of a flag for `parseArgs` of node:util. */
export interface FlagConfig {
  readonly type: "string" | "boolean";
  readonly short?: string;
}

/** The value of a flag, as `parseArgs` of node:util returns it. */
export type FlagValue = string | boolean | (string | boolean)[] | undefined;

const booleanOptions = [
  "useDualMapping",
  "useMultiplePools",
  "fillUnusedMemory",
  "immediateRelease",
  "disableInitialPadding",
  "useLargePages",
  "alignBlockSizeToLargePage",
  "useRange",
  "sealed",
] as const satisfies readonly (keyof JitAllocatorOptions)[];

const numberOptions = [
  "blockSize",
  "granularity",
  "fillPattern",
  "maxReservedSize",
  "near",
  "reserveForMustSucceed",
] as const satisfies readonly (keyof JitAllocatorOptions)[];

function flagName(option: string): string {
  return option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function flag(name: string, type: FlagConfig["type"]): [string, FlagConfig] {
  return [name, { type }];
}

/** The flags, as `parseArgs` of node:util takes them: `--flag` and `--no-flag` for booleans, `--flag N` for numbers. */
export const allocatorFlags: Readonly<Record<string, FlagConfig>> = Object.fromEntries([
  ...booleanOptions.flatMap((option) => [
    flag(flagName(option), "boolean"),
    flag(`no-${flagName(option)}`, "boolean"),
  ]),
  ...numberOptions.map((option) => flag(flagName(option), "string")),
]);

/** The lines of `--help` about them. */
export const allocatorFlagsHelp = `Allocator options (the default is the library's own):
${booleanOptions.map((option) => `  --${flagName(option)}, --no-${flagName(option)}`).join("\n")}
  --block-size N           bytes, a power of two; K, M and G are understood: 64K
  --granularity N          64, 128 or 256
  --fill-pattern N         32 bits, for example 0xCCCCCCCC
  --max-reserved-size N    bytes; K, M and G are understood
  --near N                 an address that calls from the code are to reach
  --reserve-for-must-succeed N
                           bytes mapped ahead, which a replay does not use; K,
                           M and G are understood`;

/**
 * The allocator's options that the parsed flags ask for; options without a flag are left out. The allocator itself checks
 * the ranges of numbers.
 * @throws UsageError where a value is not a number, or a flag and its opposite are both given.
 */
export function allocatorOptions(values: Readonly<Record<string, FlagValue>>): JitAllocatorOptions {
  const chosen: Record<string, boolean | number> = {};
  for (const option of booleanOptions) {
    const flag = flagName(option);
    const on = values[flag] === true;
    const off = values[`no-${flag}`] === true;
    if (on && off) throw new UsageError(`--${flag} and --no-${flag} contradict each other`);
    if (on || off) chosen[option] = on;
  }
  for (const option of numberOptions) {
    const flag = flagName(option);
    const text = values[flag];
    if (typeof text === "string") chosen[option] = parseNumber(flag, text);
  }
  return chosen;
}

/** A number as people write it: `65536`, `64K`, `64KiB`, `0xCCCCCCCC`. */
function parseNumber(flag: string, text: string): number {
  const match = /^(0x[0-9a-f]+|\d+)(?:([KMG])(?:iB)?)?$/i.exec(text);
  if (match === null) throw new UsageError(`--${flag} takes a number, not ${JSON.stringify(text)}`);
  const unit = match[2]?.toUpperCase();
  const factor = unit === "K" ? 2 ** 10 : unit === "M" ? 2 ** 20 : unit === "G" ? 2 ** 30 : 1;
  return Number(match[1]) * factor;
}
