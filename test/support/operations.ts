/** The operations of a random run: plain data, made from a seed alone, so that every run can be replayed. */
import type { CachePolicy, JitAllocatorOptions } from "../../src/index.ts";
import type { Random } from "./random.ts";

/**
 * One step of a run. `which` picks among what is live (or stale) at that moment, modulo its number, and parts are
 * fractions of a size: a step has a meaning in whatever state it meets, so runs can be cut short and reordered.
 */
export type Operation =
  | { readonly kind: "alloc"; readonly sizeBytes: number; readonly by: "span" | "address" }
  | { readonly kind: "release"; readonly which: number; readonly by: "span" | "address" | "dispose" }
  | {
      readonly kind: "shrink";
      readonly which: number;
      readonly by: "span" | "address";
      readonly part: number;
    }
  | { readonly kind: "query"; readonly which: number; readonly part: number }
  | {
      readonly kind: "write";
      readonly which: number;
      readonly part: number;
      readonly lengthPart: number;
      readonly policy: CachePolicy;
    }
  | {
      readonly kind: "emit";
      readonly which: number;
      readonly keptPart: number;
      readonly fails: boolean;
      readonly policy: CachePolicy;
    }
  | { readonly kind: "reset"; readonly policy: "soft" | "hard" }
  | {
      readonly kind: "misuseAddress";
      readonly target: MisusedAddress;
      readonly which: number;
      readonly action: AddressAction;
    }
  | { readonly kind: "misuseSpan"; readonly which: number; readonly action: SpanAction }
  | {
      readonly kind: "misuseSize";
      readonly value: unknown;
      readonly action: "alloc" | "allocAddress" | "shrink";
      readonly which: number;
    };

/** Addresses that no caller should pass. */
export type MisusedAddress =
  | "stale"
  | "interior"
  | "blockStart"
  | "blockEnd"
  | "belowBlock"
  | "rw"
  | "anywhereInBlock"
  | "nowhere"
  | "noAddress";
/** What is done with such an address. */
export type AddressAction = "release" | "shrink" | "shrinkToNothing" | "query";
/** What is done with a span of something released. */
export type SpanAction =
  "release" | "shrink" | "write" | "emit" | "read" | "dispose" | "allocator.release" | "allocator.shrink";

const POLICIES: readonly CachePolicy[] = ["default", "flush", "never"];
const MISUSED_ADDRESSES: readonly MisusedAddress[] = [
  "stale",
  "interior",
  "blockStart",
  "blockEnd",
  "belowBlock",
  "rw",
  "anywhereInBlock",
  "nowhere",
  "noAddress",
];
const ADDRESS_ACTIONS: readonly AddressAction[] = ["release", "shrink", "shrinkToNothing", "query"];
const SPAN_ACTIONS: readonly SpanAction[] = [
  "release",
  "shrink",
  "write",
  "emit",
  "read",
  "dispose",
  "allocator.release",
  "allocator.shrink",
];

/** What is no size; `undefined` and `null` are what a forgotten argument looks like. */
export const NO_SIZES: readonly unknown[] = [
  -1,
  NaN,
  0.5,
  63.5,
  Infinity,
  -Infinity,
  "64",
  null,
  undefined,
  {},
  true,
  64n,
];
/** What is no address. */
export const NO_ADDRESSES: readonly unknown[] = [
  -1,
  NaN,
  0.5,
  Infinity,
  2 ** 53,
  "4096",
  null,
  undefined,
  {},
  true,
  4096n,
];

/** How the sizes of a run are spread. */
type SizeProfile = "granules" | "functions" | "wide";

/** Everything about a run that its seed decides before the first operation. */
export interface RunPlan {
  readonly options: JitAllocatorOptions;
  readonly placement: "ascending" | "descending" | "random";
  readonly gapBytes: number;
  readonly profile: SizeProfile;
}

const KiB = 1024;

/** Chooses options, machine and sizes of a run. Every combination of the boolean options comes up. */
export function planRun(random: Random): RunPlan {
  const options: JitAllocatorOptions = {
    useDualMapping: random.chance(0.5),
    useMultiplePools: random.chance(0.5),
    fillUnusedMemory: random.chance(0.5),
    immediateRelease: random.chance(0.5),
    disableInitialPadding: random.chance(0.5),
    useLargePages: random.chance(0.2),
    alignBlockSizeToLargePage: random.chance(0.2),
    granularity: random.pick([64, 128, 256] as const),
    blockSize: random.pick([64, 64, 64, 128] as const) * KiB,
    fillPattern: random.pick([0xcccccccc, 0x12345678, 0]),
    // Small enough that runs meet the limit, large enough that blocks come and go.
    maxReservedSize: random.pick([256, 512, 1024] as const) * KiB,
  };
  return {
    options,
    placement: random.pick(["ascending", "descending", "random"] as const),
    gapBytes: random.pick([0, 64 * KiB]),
    profile: random.pick(["granules", "functions", "wide"] as const),
  };
}

/**
 * An endless stream of operations. It drifts between growing and draining, so that blocks fill up and empty;
 * about one operation in eight is a misuse.
 */
export class OperationSource {
  readonly #random: Random;
  readonly #profile: SizeProfile;
  #allocShare = 0.7;
  #untilDrift = 0;

  constructor(random: Random, profile: SizeProfile) {
    this.#random = random;
    this.#profile = profile;
  }

  /** The next operation. `liveCount` bends the drift: nothing is drained that is not there. */
  next(liveCount: number): Operation {
    const random = this.#random;
    if (this.#untilDrift-- <= 0) {
      this.#allocShare = random.pick([0.15, 0.35, 0.5, 0.75, 0.95]);
      this.#untilDrift = random.between(20, 200);
    }
    const which = random.next();
    const by = random.chance(0.5) ? "span" : "address";
    const dice = random.below(1000);
    if (dice < 650) {
      if (liveCount === 0 || random.chance(this.#allocShare))
        return { kind: "alloc", sizeBytes: this.#size(), by };
      return { kind: "release", which, by: random.chance(0.1) ? "dispose" : by };
    }
    if (dice < 720) return { kind: "shrink", which, by, part: this.#part(1.1) };
    if (dice < 780) return { kind: "query", which, part: this.#part(1) };
    if (dice < 830) {
      return {
        kind: "write",
        which,
        part: this.#part(1.02),
        lengthPart: this.#part(1),
        policy: random.pick(POLICIES),
      };
    }
    if (dice < 875) {
      return {
        kind: "emit",
        which,
        keptPart: this.#part(1.1),
        fails: random.chance(0.1),
        policy: random.pick(POLICIES),
      };
    }
    if (dice < 877) return { kind: "reset", policy: random.chance(0.7) ? "soft" : "hard" };
    return this.#misuse(which);
  }

  #misuse(which: number): Operation {
    const random = this.#random;
    switch (random.below(3)) {
      case 0:
        return { kind: "misuseSpan", which, action: random.pick(SPAN_ACTIONS) };
      case 1:
        return {
          kind: "misuseSize",
          which,
          value: random.chance(0.3)
            ? random.pick([0, 2 ** 31, 2 ** 32 + 64, 2 ** 40])
            : random.pick(NO_SIZES),
          action: random.pick(["alloc", "allocAddress", "shrink"] as const),
        };
      default:
        return {
          kind: "misuseAddress",
          which,
          target: random.pick(MISUSED_ADDRESSES),
          action: random.pick(ADDRESS_ACTIONS),
        };
    }
  }

  /** From 0 to `limit`, both ends more often than chance would have them. */
  #part(limit: number): number {
    const random = this.#random;
    if (random.chance(0.05)) return 0;
    if (random.chance(0.1)) return 1;
    return (random.next() / 2 ** 32) * limit;
  }

  #size(): number {
    const random = this.#random;
    switch (this.#profile) {
      case "granules":
        return random.between(1, 8) * 64;
      case "functions":
        return random.between(8, 1031);
      case "wide":
        // Each power of two as likely as the others, up to more than a block.
        return Math.floor(2 ** ((random.next() / 2 ** 32) * 17)) + random.below(64);
    }
  }
}

/** The operation on one line, for the report of a failure. */
export function describeOperation(operation: Operation): string {
  return Object.entries(operation)
    .map(([name, value]) => (name === "kind" ? String(value) : `${name}=${String(value)}`))
    .join(" ");
}
