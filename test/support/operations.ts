/** The operations of a random run: plain data, made from a seed alone, so that every run can be replayed. */
import type { CachePolicy, JitAllocatorOptions, SpanKind } from "../../src/index.ts";
import type { SimulatedOperation } from "../../src/vm/simulated.ts";
import type { Random } from "./random.ts";

/** Calls of the machine that may fail. A view that is refused is no failure, and closing one asks nobody. */
export const FALLIBLE_OPERATIONS: readonly SimulatedOperation[] = [
  "alloc",
  "release",
  "allocDualMapping",
  "releaseDualMapping",
  "flushInstructionCache",
  "copyIn",
  "copyOut",
];

/** What takes their place on a machine with ranges. */
export const RANGE_OPERATIONS: Readonly<Partial<Record<SimulatedOperation, SimulatedOperation>>> = {
  alloc: "reserveRange",
  release: "empty",
  allocDualMapping: "commit",
  releaseDualMapping: "decommit",
};

/** A call of the machine that fails while an operation is done: the first of its kind, or the one after. */
export interface PlannedFault {
  readonly call: SimulatedOperation;
  readonly successes: number;
}

/** An operation, and what the machine does to it. */
export interface Step {
  readonly operation: Operation;
  readonly fault?: PlannedFault;
}

/**
 * One step of a run. `which` picks among what is live (or stale) at that moment, modulo its number, and parts are
 * fractions of a size: a step has a meaning in whatever state it meets, so runs can be cut short and reordered.
 */
export type Operation =
  | {
      readonly kind: "alloc";
      readonly sizeBytes: number;
      readonly by: "span" | "address";
      /** Of what kind; addresses are always of code. */
      readonly of: SpanKind;
    }
  | {
      readonly kind: "patch";
      readonly which: number;
      readonly part: number;
      /** Bytes; 3 and 16 are refused. */
      readonly length: 1 | 2 | 3 | 4 | 8 | 16;
      /** Bytes from the next right offset. */
      readonly off: 0 | 1;
    }
  | { readonly kind: "veneer"; readonly which: number; readonly action: VeneerAction }
  | {
      readonly kind: "module";
      readonly sizes: readonly number[];
      readonly which: number;
      readonly ending: "commit" | "dispose" | "tooLarge";
    }
  | { readonly kind: "unload"; readonly which: number }
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
  | { readonly kind: "scope"; readonly which: readonly number[]; readonly part: number }
  | { readonly kind: "reenter"; readonly which: number; readonly inside: InsideAction }
  | { readonly kind: "reset"; readonly policy: "soft" | "hard" }
  | {
      readonly kind: "misuseAddress";
      readonly target: MisusedAddress;
      readonly which: number;
      readonly action: AddressAction;
    }
  | { readonly kind: "misuseSpan"; readonly which: number; readonly action: SpanAction }
  | { readonly kind: "misuseForeign"; readonly which: number; readonly action: ForeignAction }
  | { readonly kind: "misuseWrite"; readonly which: number; readonly action: WriteMisuse }
  | {
      readonly kind: "misuseSize";
      /** Among {@link ABSURD_SIZES}. */
      readonly size: number;
      readonly action: "alloc" | "allocAddress" | "shrink";
      readonly which: number;
    };

/** What is done with a veneer. */
export type VeneerAction = "take" | "retarget" | "release" | "dispose";
/** What a write callback does to the allocator that called it. */
export type InsideAction = "release" | "shrink" | "alloc" | "reset";
/** What is done with a span or an address of another allocator. */
export type ForeignAction =
  | "release"
  | "shrink"
  | "write"
  | "emit"
  | "scope"
  | "releaseAddress"
  | "shrinkAddress"
  | "query"
  | "queryAddress";
/** What is wrong about a write or a read. */
export type WriteMisuse = "offset" | "bytes" | "policy" | "kept" | "readOffset" | "readLength";

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
export type AddressAction = "release" | "shrink" | "shrinkToNothing" | "query" | "queryAddress";
/** What is done with a span of something released. */
export type SpanAction =
  "release" | "shrink" | "write" | "emit" | "read" | "dispose" | "allocator.release" | "allocator.shrink";

/** Half of all allocations are of code. */
const KIND_MIX: readonly SpanKind[] = ["code", "constants", "code", "data"];
/** Operations of several steps, of which nobody foresees which one meets a fault. */
const MADE_OF_SEVERAL: readonly string[] = ["veneer", "module", "unload"];

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
const ADDRESS_ACTIONS: readonly AddressAction[] = [
  "release",
  "shrink",
  "shrinkToNothing",
  "query",
  "queryAddress",
];
const INSIDE_ACTIONS: readonly InsideAction[] = ["release", "shrink", "alloc", "reset"];
const FOREIGN_ACTIONS: readonly ForeignAction[] = [
  "release",
  "shrink",
  "write",
  "emit",
  "scope",
  "releaseAddress",
  "shrinkAddress",
  "query",
  "queryAddress",
];
const WRITE_MISUSES: readonly WriteMisuse[] = [
  "offset",
  "bytes",
  "policy",
  "kept",
  "readOffset",
  "readLength",
];
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

/** What is no integer from 0 up: no offset, no length, and no number of bytes to keep. */
export const NO_INDEXES: readonly unknown[] = [-1, NaN, 0.5, Infinity, 2 ** 53, "4", null, {}, true, 4n];
/** What is no size, or none that anything has; `undefined` and `null` are what a forgotten argument looks like. */
export const ABSURD_SIZES: readonly unknown[] = [
  0,
  2 ** 31,
  2 ** 32 + 64,
  2 ** 40,
  63.5,
  -Infinity,
  undefined,
  ...NO_INDEXES,
];
/** What is no address. */
export const NO_ADDRESSES: readonly unknown[] = [undefined, "4096", 4096n, ...NO_INDEXES];
/** What is no bytes. */
export const NO_BYTES: readonly unknown[] = [
  undefined,
  null,
  4,
  "code",
  [1, 2],
  new ArrayBuffer(8),
  new Uint16Array(4),
  new DataView(new ArrayBuffer(4)),
  { length: 4 },
];

/** How the sizes of a run are spread. */
type SizeProfile = "granules" | "functions" | "wide";

/** Everything about a run that its seed decides before the first operation. */
export interface RunPlan {
  readonly options: JitAllocatorOptions;
  readonly placement: "ascending" | "descending" | "random";
  readonly gapBytes: number;
  /** Whether the machine refuses views, so that all bytes are copied. */
  readonly refusesViews: boolean;
  readonly profile: SizeProfile;
  /** What the machine's own randomness begins with. */
  readonly memorySeed: number;
}

/** How large the structures of a run become. */
export type Scale = "small" | "large";

const KiB = 1024;

/** Chooses options, machine and sizes of a run. Every combination of the boolean options comes up. */
export function planRun(random: Random, scale: Scale = "small"): RunPlan {
  // Small enough that runs meet the limit, large enough that blocks come and go.
  const maxReservedSize = random.pick([256, 512, 1024] as const) * KiB * (scale === "small" ? 1 : 32);
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
    maxReservedSize,
  };
  const placement = random.pick(["ascending", "descending", "random"] as const);
  const gapBytes = random.pick([0, 64 * KiB]);
  const profile = random.pick(["granules", "functions", "wide"] as const);
  const memorySeed = random.next();
  // Seldom, and at no cost of a random number: the runs of earlier seeds stay what they were.
  return { options, placement, gapBytes, refusesViews: memorySeed % 4 === 0, profile, memorySeed };
}

/**
 * An endless stream of operations. It drifts between growing and draining, so that blocks fill up and empty;
 * about one operation in eight is a misuse.
 */
export class OperationSource {
  readonly #random: Random;
  readonly #profile: SizeProfile;
  readonly #faultProbability: number;
  #allocShare = 0.7;
  #untilDrift = 0;

  /** @param faultProbability how often the machine fails during an operation, 0 = never. */
  constructor(random: Random, profile: SizeProfile, faultProbability = 0) {
    this.#random = random;
    this.#profile = profile;
    this.#faultProbability = faultProbability;
  }

  /** The next operation. `liveCount` bends the drift: nothing is drained that is not there. */
  next(liveCount: number): Step {
    const random = this.#random;
    if (this.#untilDrift-- <= 0) {
      this.#allocShare = random.pick([0.15, 0.35, 0.5, 0.75, 0.95]);
      this.#untilDrift = random.between(20, 200);
    }
    const operation = this.#operation(liveCount);
    // What a callback does while a fault is armed would be two operations with one fault: too much to foresee.
    if (
      this.#faultProbability === 0 ||
      operation.kind === "reenter" ||
      MADE_OF_SEVERAL.includes(operation.kind) ||
      !random.chance(this.#faultProbability)
    ) {
      return { operation };
    }
    return { operation, fault: { call: random.pick(FALLIBLE_OPERATIONS), successes: random.below(2) } };
  }

  #operation(liveCount: number): Operation {
    const random = this.#random;
    const which = random.next();
    const by = random.chance(0.5) ? "span" : "address";
    const dice = random.below(1000);
    if (dice < 650) {
      if (liveCount === 0 || random.chance(this.#allocShare))
        return {
          kind: "alloc",
          sizeBytes: this.#size(),
          by,
          of: KIND_MIX[which % KIND_MIX.length] ?? "code",
        };
      return { kind: "release", which, by: random.chance(0.1) ? "dispose" : by };
    }
    if (dice < 710) return { kind: "shrink", which, by, part: this.#part(1.1) };
    if (dice < 765) return { kind: "query", which, part: this.#part(1) };
    if (dice < 810) {
      return {
        kind: "write",
        which,
        part: this.#part(1.02),
        lengthPart: this.#part(1),
        policy: random.pick(POLICIES),
      };
    }
    if (dice < 850) {
      return {
        kind: "emit",
        which,
        keptPart: this.#part(1.1),
        fails: random.chance(0.1),
        policy: random.pick(POLICIES),
      };
    }
    if (dice < 865) {
      return { kind: "scope", which: [which, random.next(), random.next()], part: this.#part(1) };
    }
    if (dice < 873) return { kind: "reenter", which, inside: this.#inside() };
    if (dice < 885) return this.#linking(which, dice - 873);
    if (dice < 887) return { kind: "reset", policy: random.chance(0.7) ? "soft" : "hard" };
    return this.#misuse(which);
  }

  /** @param dice below 12 */
  #linking(which: number, dice: number): Operation {
    const random = this.#random;
    if (dice < 4) {
      const length = random.pick([1, 2, 4, 4, 8, 8, 3, 16] as const);
      return { kind: "patch", which, part: this.#part(1.02), length, off: random.chance(0.2) ? 1 : 0 };
    }
    if (dice < 8) {
      const action = random.pick(["take", "take", "take", "retarget", "release", "dispose"] as const);
      return { kind: "veneer", which, action };
    }
    if (dice === 11) return { kind: "unload", which };
    const ending = random.pick(["commit", "commit", "commit", "dispose", "tooLarge"] as const);
    return {
      kind: "module",
      sizes: Array.from({ length: random.below(6) }, () => this.#size()),
      which,
      ending,
    };
  }

  /** A reset takes everything away, and would keep blocks from ever filling up if it came often. */
  #inside(): InsideAction {
    const inside = this.#random.pick(INSIDE_ACTIONS);
    return inside === "reset" && this.#random.chance(0.75) ? "release" : inside;
  }

  #misuse(which: number): Operation {
    const random = this.#random;
    switch (random.below(5)) {
      case 0:
        return { kind: "misuseSpan", which, action: random.pick(SPAN_ACTIONS) };
      case 1:
        return {
          kind: "misuseSize",
          which,
          size: random.below(ABSURD_SIZES.length),
          action: random.pick(["alloc", "allocAddress", "shrink"] as const),
        };
      case 2:
        return { kind: "misuseForeign", which, action: random.pick(FOREIGN_ACTIONS) };
      case 3:
        return { kind: "misuseWrite", which, action: random.pick(WRITE_MISUSES) };
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

/** The step on one line, for the report of a failure. */
export function describeStep({ operation, fault }: Step): string {
  const words = Object.entries(operation).map(([name, value]) =>
    name === "kind" ? String(value) : `${name}=${String(value)}`,
  );
  if (operation.kind === "misuseSize") words.push(`(${String(ABSURD_SIZES[operation.size])})`);
  if (fault !== undefined) words.push(`while ${fault.call} fails after ${fault.successes}`);
  return words.join(" ");
}
