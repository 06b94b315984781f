/** The allocator's options: their meaning, their defaults and their checks. */
import type { CoreOptions } from "../core/state.ts";
import { JitError, describe } from "../base/errors.ts";
import { platform } from "../base/platform.ts";
import type { ProcessorName } from "../base/platform.ts";
import type { Address } from "../ffi/contract.ts";
import type { VirtualMemory } from "../vm/contract.ts";
import { cannotProtect, cannotSeal, NO_RANGES, refuseValue } from "./refusals.ts";

/** The options of an allocator. Every option has a default; an invalid value is refused, never replaced. */
export interface JitAllocatorOptions {
  /**
   * Map the memory twice, once to execute and once to write, so that no page is ever both (W^X). Default true.
   * Switched off, there is a single mapping that can be read, written and executed.
   */
  useDualMapping?: boolean;
  /** Keep three pools, with granules of 1, 2 and 4 times `granularity`: less metadata for large code. Default false. */
  useMultiplePools?: boolean;
  /** Fill new blocks, and memory that is released or shrunk away, with `fillPattern`. Default false. */
  fillUnusedMemory?: boolean;
  /** Unmap a block as soon as it is empty, instead of keeping one empty block per pool. Default false. */
  immediateRelease?: boolean;
  /** Use the first granule of each block too. Otherwise no code begins at the start of a block. Default false. */
  disableInitialPadding?: boolean;
  /** Ask for large pages: a hint, which falls back to regular pages. Default false. */
  useLargePages?: boolean;
  /** Make every block a multiple of the large page, so that even the first one can have large pages. Default false. */
  alignBlockSizeToLargePage?: boolean;
  /** Bytes: the size of the first block of a pool. A power of two, 64 KiB to 256 MiB. Default 64 KiB. */
  blockSize?: number;
  /** Bytes: the unit of allocation and its alignment. Default 64. */
  granularity?: 64 | 128 | 256;
  /** The unsigned 32-bit word for `fillUnusedMemory`. Default: instructions that trap; 0 on an unknown processor. */
  fillPattern?: number;
  /**
   * Bytes that all blocks together may reserve: an integer of at least one block, and with `useRange` of at most 2 GiB.
   * Default 2 GiB. `allocator.options` has less where the process had no addresses for a range that large.
   */
  maxReservedSize?: number;
  /**
   * Keep everything in one range of addresses, reserved when the first block is mapped, so that every allocation reaches
   * every other by a relative call. Default true. Where the system offers no range (Windows, macOS), or its policy
   * forbids one, blocks lie where the system puts them, and `allocator.range` is undefined.
   */
  useRange?: boolean;
  /**
   * An address that relative calls from anywhere in the range are to reach too: of the runtime's own code, or of a
   * library. Needs `useRange`. The first allocation throws `ERR_OUT_OF_REACH` where no free addresses are near enough,
   * and `ERR_FEATURE_NOT_ENABLED` where there is no range. Default: none.
   */
  near?: Address | undefined;
  /**
   * Seal the addresses of every block (mseal, Linux 6.10): until the process ends, nothing in it can change their access,
   * unmap them or map over them. Memory comes back as without it; addresses do not: later blocks use them again. Needs
   * `useRange`. The constructor throws `ERR_FEATURE_NOT_ENABLED` where the system cannot seal, and the first allocation
   * where it allows no range. Default false.
   */
  sealed?: boolean;
  /**
   * Bytes of {@link maxReservedSize} that are kept for allocations which must succeed, `alloc(size, { mustSucceed: true })`:
   * an integer, rounded up to whole blocks, which leaves at least one block for all others. The memory is mapped and written
   * before the first block, so that neither the limit nor the system can refuse it later. Default 0.
   */
  reserveForMustSucceed?: number;
  /**
   * `keys`: the writable view of all blocks is closed to every thread of the process, by a memory protection key, but inside of
   * the routine by which this library writes. A store to `rw` by anything else ends the process (SIGSEGV), a program's own included.
   * Needs an x86-64 processor with protection keys, Linux, `useRange` and `useDualMapping`; not with `sealed`. The constructor
   * throws `ERR_FEATURE_NOT_ENABLED` where there are none. Data, which is writable at its address, is not closed. Default `none`.
   */
  protectWrites?: "none" | "keys";
}

/** Every option, with the value in force. */
export type ResolvedJitAllocatorOptions = Required<Omit<JitAllocatorOptions, "near">> & {
  /** See {@link JitAllocatorOptions.near}. */
  near: Address | undefined;
};

/** The names of the options that are on or off. */
export type BooleanOption = {
  [K in keyof ResolvedJitAllocatorOptions]: ResolvedJitAllocatorOptions[K] extends boolean ? K : never;
}[keyof ResolvedJitAllocatorOptions];

/** asmjit's bounds: the smallest mapping any system makes, and a size beyond which a block is never worth it. */
const SMALLEST_BLOCK_BYTES = 64 * 1024;
const LARGEST_BLOCK_BYTES = 256 * 1024 * 1024;
const GRANULARITIES: readonly number[] = [64, 128, 256];
/** 2 GiB, more code than any compiler was seen to keep, and as far as a relative call of x86-64 reaches. */
const DEFAULT_MAX_RESERVED_BYTES = 2 ** 31;
const LARGEST_RANGE_BYTES = 2 ** 31;

/** 2 GiB − 1. No power, which engines would keep as a double. */
const TWO_GIB_LESS_ONE = 0x7fff_ffff;

/** A word that traps when it is executed: four times `int3`, or `brk #0`. */
const TRAPS: Readonly<Record<ProcessorName, number>> = {
  x64: 0xcccc_cccc,
  arm64: 0xd420_0000,
  other: 0,
};

/** What a value must be, by its type. */
const WANTED: Readonly<Partial<Record<string, string>>> = {
  boolean: "true or false",
  number: "a number",
  string: '"none" or "keys"',
};

const DEFAULTS: ResolvedJitAllocatorOptions = {
  useDualMapping: true,
  useMultiplePools: false,
  fillUnusedMemory: false,
  immediateRelease: false,
  disableInitialPadding: false,
  useLargePages: false,
  alignBlockSizeToLargePage: false,
  blockSize: SMALLEST_BLOCK_BYTES,
  granularity: 64,
  fillPattern: TRAPS[platform.processor],
  maxReservedSize: DEFAULT_MAX_RESERVED_BYTES,
  useRange: true,
  near: undefined,
  sealed: false,
  reserveForMustSucceed: 0,
  protectWrites: "none",
};

/** Bytes: the largest request, 2 GiB less a granule (asmjit). */
export function largestRequestOf({ granularity }: Pick<ResolvedJitAllocatorOptions, "granularity">): number {
  return TWO_GIB_LESS_ONE - granularity + 1;
}

/** Whether an option is on. @throws JitError `ERR_INVALID_ARGUMENT` for a name that no boolean option has */
export function isOptionOn(options: Readonly<ResolvedJitAllocatorOptions>, name: BooleanOption): boolean {
  // Only strings are looked up: converting another value to one runs its own code, or fails.
  const isKnown = typeof name === "string" && Object.hasOwn(options, name);
  const value: unknown = isKnown ? options[name] : undefined;
  if (typeof value !== "boolean") throw refuseValue("look up", name, "there is no such boolean option");
  return value;
}

/** Checks the options and fills in the defaults. @throws JitError `ERR_INVALID_ARGUMENT` for any that is invalid. */
export function resolveOptions(
  options: JitAllocatorOptions,
  memory: VirtualMemory,
): Readonly<ResolvedJitAllocatorOptions> {
  if (typeof options !== "object" || (options as unknown) === null) {
    throw new JitError(
      "ERR_INVALID_ARGUMENT",
      `Cannot make an allocator: the options must be an object, and are ${describe(options)}`,
    );
  }
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(DEFAULTS, name)) {
      throw new JitError(
        "ERR_INVALID_ARGUMENT",
        `Cannot make an allocator: there is no option ${describe(name)}; the options are ${Object.keys(DEFAULTS).join(", ")}`,
      );
    }
  }
  const resolved = { ...DEFAULTS };
  // Each option is read once: a getter must not be able to give another value after the check.
  for (const name of Object.keys(DEFAULTS) as (keyof ResolvedJitAllocatorOptions)[]) {
    // Own properties alone: one that somebody added to Object.prototype is no option.
    const value = Object.hasOwn(options, name) ? options[name] : undefined;
    if (value === undefined) continue;
    const wanted = name === "near" ? "number" : typeof DEFAULTS[name];
    if (typeof value !== wanted) {
      throw invalid(name, value, WANTED[wanted] ?? "something else");
    }
    Object.assign(resolved, { [name]: value });
  }
  const { blockSize, granularity, fillPattern, maxReservedSize } = resolved;
  const largePageBytes = resolved.alignBlockSizeToLargePage ? memory.largePageSize() : 0;
  // `allocator.options` must be accepted too, whose blockSize has grown to a large page: 512 MiB, where a page has 64 KiB.
  const largestBytes = Math.max(LARGEST_BLOCK_BYTES, largePageBytes);
  if (!isPowerOfTwo(blockSize) || blockSize < SMALLEST_BLOCK_BYTES || blockSize > largestBytes) {
    throw invalid("blockSize", blockSize, "a power of two from 65536 (64 KiB) to 268435456 (256 MiB)");
  }
  if (!GRANULARITIES.includes(granularity)) throw invalid("granularity", granularity, "64, 128 or 256");
  if (!Number.isInteger(fillPattern) || fillPattern < 0 || fillPattern > 0xffff_ffff) {
    throw invalid("fillPattern", fillPattern, "an unsigned 32-bit integer");
  }
  resolved.fillPattern = withoutSign(fillPattern);
  // A block is a whole number of the units that the system maps, and of large pages where the options ask for that.
  resolved.blockSize = Math.max(blockSize, memory.info().pageGranularity, largePageBytes);
  if (!Number.isSafeInteger(maxReservedSize) || maxReservedSize < resolved.blockSize) {
    throw invalid(
      "maxReservedSize",
      maxReservedSize,
      `an integer of at least ${resolved.blockSize}, one block`,
    );
  }
  resolved.reserveForMustSucceed = checkReserve(resolved);
  checkRange(resolved);
  if (resolved.near !== undefined) resolved.near = withoutSign(resolved.near);
  if (resolved.sealed) checkSealing(memory);
  checkProtection(resolved);
  return Object.freeze(resolved);
}

/** Returns the reserve in whole blocks. */
function checkReserve({
  reserveForMustSucceed,
  blockSize,
  maxReservedSize,
}: ResolvedJitAllocatorOptions): number {
  const isSize = Number.isSafeInteger(reserveForMustSucceed) && reserveForMustSucceed >= 0;
  const wholeBytes = Math.ceil(reserveForMustSucceed / blockSize) * blockSize;
  const isLeft = wholeBytes === 0 || wholeBytes + blockSize <= maxReservedSize;
  if (isSize && isLeft && wholeBytes <= LARGEST_RANGE_BYTES) return withoutSign(wholeBytes);
  const most = `in whole blocks leaves one (${blockSize} bytes) of maxReservedSize (${maxReservedSize})`;
  throw invalid(
    "reserveForMustSucceed",
    reserveForMustSucceed,
    `an integer from 0 to 2147483648 that ${most}`,
  );
}

/** Checks the options about the range against each other. */
function checkRange({ useRange, near, maxReservedSize, sealed }: ResolvedJitAllocatorOptions): void {
  if (useRange && maxReservedSize > LARGEST_RANGE_BYTES) {
    const wanted = `at most ${LARGEST_RANGE_BYTES} (2 GiB), as far as a call reaches, unless useRange is false`;
    throw invalid("maxReservedSize", maxReservedSize, wanted);
  }
  if (sealed && !useRange)
    throw invalid(
      "sealed",
      sealed,
      "false where useRange is: what is sealed can only be used again in a range",
    );
  if (near === undefined) return;
  if (!Number.isSafeInteger(near) || near < 0)
    throw invalid("near", near, "an address: an integer from 0 on");
  if (!useRange) throw invalid("near", near, "left out where useRange is false: blocks lie anywhere then");
}

/** Checks whether writes are to be protected, and whether the other options let them be. */
function checkProtection({
  protectWrites,
  useRange,
  useDualMapping,
  sealed,
}: ResolvedJitAllocatorOptions): void {
  const name = "protectWrites";
  const values: readonly string[] = ["none", "keys"];
  if (!values.includes(protectWrites)) throw invalid(name, protectWrites, '"none" or "keys"');
  if (protectWrites === "none") return;
  let obstacle: string | undefined;
  if (!useRange && !useDualMapping) obstacle = "useRange and useDualMapping are false";
  else if (!useRange) obstacle = "useRange is false";
  else if (!useDualMapping) obstacle = "useDualMapping is false";
  else if (sealed) obstacle = "sealed is true";
  if (obstacle !== undefined) throw invalid(name, protectWrites, `"none" where ${obstacle}`);
}

/**
 * The memory that an allocator with these options uses.
 * @param isAttached whether another thread has made the allocator: then this one needs no key to use what is there
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where writes cannot be protected on this machine
 */
export function memoryFor(
  { protectWrites }: Readonly<ResolvedJitAllocatorOptions>,
  memory: VirtualMemory,
  isAttached = false,
): VirtualMemory {
  if (protectWrites === "none") return memory;
  const { writeKeys } = memory;
  if (writeKeys === undefined) throw cannotProtect("this system offers none");
  const refusal = isAttached ? writeKeys.lack() : writeKeys.refusal();
  if (refusal !== undefined) throw cannotProtect(refusal);
  return writeKeys.memory();
}

/** @throws JitError `ERR_FEATURE_NOT_ENABLED` where the system cannot seal blocks */
function checkSealing({ ranges }: VirtualMemory): void {
  const refusal = ranges === undefined ? NO_RANGES : ranges.sealRefusal();
  if (refusal !== undefined) throw cannotSeal(refusal);
}

/** The options that the core needs. */
export function coreOptionsOf(options: Readonly<ResolvedJitAllocatorOptions>): CoreOptions {
  return {
    granularity: options.granularity,
    poolsPerKind: options.useMultiplePools ? 3 : 1,
    padding: !options.disableInitialPadding,
    immediateRelease: options.immediateRelease,
    blockSize: options.blockSize,
    maxReservedSize: options.maxReservedSize,
    hasReserve: options.reserveForMustSucceed > 0,
  };
}

/** Makes 0 of -0. */
function withoutSign(value: number): number {
  return value + 0;
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}

function invalid(what: string, value: unknown, wanted: string): JitError {
  return new JitError(
    "ERR_INVALID_ARGUMENT",
    `Cannot make an allocator: ${what} is ${describe(value)}, but must be ${wanted}`,
  );
}
