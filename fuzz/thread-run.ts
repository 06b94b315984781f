/** One thread's operations on the shared allocator, and the model of what it owns: each result is compared at once. */
import assert from "node:assert/strict";
import {
  JitAllocator,
  JitError,
  type JitErrorCode,
  type Span,
  type SpanKind,
  type SpanToken,
} from "../src/index.ts";
import { throwsJitError, wrong } from "../test/support/expectations.ts";
import { ABSURD_SIZES, NO_ADDRESSES, NO_BYTES, NO_INDEXES } from "../test/support/operations.ts";
import { Random } from "../test/support/random.ts";
import { assertFilled, poolGranularity, roundUp } from "../test/support/rows.ts";
import type { Claims } from "./claims.ts";
import type { Mailbox, Parcel } from "./mailbox.ts";

/** As they are numbered in parcels. */
export const KINDS: readonly SpanKind[] = ["code", "constants", "data"];

/** An allocation that this thread owns. */
interface Owned {
  readonly rx: number;
  readonly kind: SpanKind;
  readonly poolGranularity: number;
  /** The claim on its bytes. */
  readonly claim: number;
  size: number;
  /** Undefined = the thread has only its address. */
  readonly span: Span | undefined;
  contents: Uint8Array;
}

/** What a thread reports as its own, when all threads stand still. */
export interface OwnedPlace {
  readonly rx: number;
  readonly kind: SpanKind;
  readonly size: number;
  readonly poolGranularity: number;
}

/** The settings of a run, for all of its threads. */
export interface ThreadPlan {
  readonly profile: "granules" | "functions" | "wide";
  /** Whether `maxReservedSize` is low enough to be reached. */
  readonly isTight: boolean;
}

/**
 * The most live allocations of a thread: those of all threads together fit into what a run that is not tight may reserve.
 */
const LIVE_LIMIT = 200;
/** The number of released spans and addresses that are kept for misuse: enough that their places are in use again. */
const STALE_LIMIT = 32;
/** The number of latest operations that a failure shows: enough to say where to look. */
const LAST_OPERATIONS = 12;
/** Operations between two calls of `verify`, which takes as long as some hundred operations while the others wait. */
const VERIFY_EVERY = 300;
/** The low bits of a claim, which hold the thread's count of allocations; the thread's number is above them. */
const CLAIM_BITS = 24;
/** The number of patterns: one for each start in {@link BYTES}. */
const MARKS = 4096;
/** The bytes of all patterns: the pattern with the mark N begins at N. Long enough for the largest allocation of a run. */
const BYTES = ((): Uint8Array => {
  const random = new Random(1);
  return Uint8Array.from({ length: MARKS + 2 ** 18 }, () => random.below(256));
})();

/** The bytes of an allocation that is handed over with that mark. */
export function patternOf(mark: number, sizeBytes: number): Uint8Array {
  return BYTES.subarray(mark, mark + sizeBytes);
}

/** One thread's part in a run. */
export class ThreadRun {
  readonly #allocator: JitAllocator;
  readonly #plan: ThreadPlan;
  readonly #random: Random;
  readonly #claims: Claims;
  readonly #mailbox: Mailbox;
  readonly #index: number;
  readonly #live: Owned[] = [];
  readonly #staleSpans: Span[] = [];
  #staleAddresses: number[] = [];
  /** Tokens of allocations that other threads have now, and whether this thread has seen that they were released. */
  readonly #given: { readonly token: SpanToken; isGone: boolean }[] = [];
  /** An allocator of this thread's own: the shared one must refuse its spans. */
  readonly #stranger = new JitAllocator();
  readonly #strangeSpan = this.#stranger.alloc(300);
  readonly #last: string[] = [];
  #allocShare = 0.7;
  #claimCount = 0;
  #stepCount = 0;
  refusalCount = 0;

  /** @param index the thread's number, from 0 */
  constructor(
    allocator: JitAllocator,
    plan: ThreadPlan,
    seed: number,
    claims: Claims,
    mailbox: Mailbox,
    index: number,
  ) {
    this.#allocator = allocator;
    this.#plan = plan;
    this.#random = new Random(seed);
    this.#claims = claims;
    this.#mailbox = mailbox;
    this.#index = index;
  }

  /** The last operations, the latest at the end. */
  get lastOperations(): readonly string[] {
    return this.#last;
  }

  /** The allocations that this thread owns. */
  get places(): OwnedPlace[] {
    return this.#live.map(({ rx, kind, size, poolGranularity: granularity }) => ({
      rx,
      kind,
      size,
      poolGranularity: granularity,
    }));
  }

  /** The addresses that this thread has released since the last call. */
  takeStaleAddresses(): number[] {
    const taken = this.#staleAddresses;
    this.#staleAddresses = [];
    return taken;
  }

  /** Does one operation. @throws where anything differs from the model */
  step(): void {
    const random = this.#random;
    if (this.#stepCount++ % 100 === 0) this.#allocShare = random.pick([0.15, 0.35, 0.5, 0.75, 0.95]);
    if (this.#stepCount % VERIFY_EVERY === 0) {
      this.#look();
      return;
    }
    const dice = random.below(100);
    const owned = this.#live.length === 0 ? undefined : random.pick(this.#live);
    if (owned === undefined || (dice < 50 && random.chance(this.#allocShare))) {
      if (this.#live.length < LIVE_LIMIT) this.#alloc();
      else this.#release(random.pick(this.#live));
    } else if (dice < 50) this.#release(owned);
    else if (dice < 58) this.#shrink(owned);
    else if (dice < 64) this.#query(owned);
    else if (dice < 72) this.#write(owned);
    else if (dice < 77) this.#give(owned);
    else if (dice < 84) this.#receive();
    else if (dice < 86) this.#probeGiven();
    else this.#misuse(owned);
  }

  /** Releases all that this thread owns. */
  releaseAll(): void {
    for (let owned = this.#live.at(-1); owned !== undefined; owned = this.#live.at(-1)) this.#release(owned);
  }

  /** Called after the allocator was reset: nothing from before the reset can be used. */
  forgetAll(): void {
    for (const { span } of this.#live.splice(0)) {
      if (span === undefined) continue;
      assert.ok(span.isReleased, "a reset releases the spans of all threads");
      throwsJitError("ERR_RELEASED", () => span.read(), "a span from before a reset");
    }
  }

  /** Ends this thread's part. */
  end(): void {
    this.#allocator.detach();
    this.#stranger.dispose();
  }

  #note(text: string): void {
    this.#last.push(text);
    if (this.#last.length > LAST_OPERATIONS) this.#last.shift();
  }

  #size(): number {
    const random = this.#random;
    switch (this.#plan.profile) {
      case "granules":
        return random.between(1, 8) * 64;
      case "functions":
        return random.between(8, 1031);
      case "wide":
        // Each power of two is as likely as the others, up to more than a block.
        return Math.floor(2 ** ((random.next() / 2 ** 32) * 17)) + random.below(64);
    }
  }

  #alloc(): void {
    const { options } = this.#allocator;
    const asked = this.#size();
    const bySpan = this.#random.chance(0.6);
    const kind = bySpan ? this.#random.pick(["code", "code", "constants", "data"] as const) : "code";
    this.#note(`${bySpan ? "alloc" : "allocAddress"} ${asked} of ${kind}`);
    let made: Span | number;
    try {
      made = bySpan ? this.#allocator.alloc(asked, { kind }) : this.#allocator.allocAddress(asked);
    } catch (error) {
      if (!(this.#plan.isTight && error instanceof JitError && error.code === "ERR_OUT_OF_MEMORY"))
        throw error;
      this.refusalCount++;
      return;
    }
    const rx = typeof made === "number" ? made : made.rx;
    const size = roundUp(asked, options.granularity);
    const granularity = poolGranularity(options, asked);
    const claim = ((this.#index + 1) << CLAIM_BITS) | ++this.#claimCount;
    this.#claims.claim(rx, size, claim);
    assert.equal(rx % granularity, 0, "the allocation is aligned to the granularity of its pool");
    const span = typeof made === "number" ? undefined : made;
    const contents = (span ?? this.#allocator.query(rx)).read();
    assert.equal(contents.length, size, `${asked} bytes asked`);
    if (options.fillUnusedMemory) assertFilled(contents, options.fillPattern, "a fresh allocation");
    const owned: Owned = { rx, kind, poolGranularity: granularity, claim, size, span, contents };
    this.#live.push(owned);
    if (this.#random.chance(0.8)) this.#fill(owned);
  }

  /** The span that the thread has, or a new span of the same allocation. */
  #spanOf({ span, rx }: Owned): Span {
    return span ?? this.#allocator.query(rx);
  }

  #checkContents(owned: Owned): void {
    const { rx, size, contents } = owned;
    const span = this.#spanOf(owned);
    assert.deepEqual([span.isReleased, span.rx, span.size], [false, rx, size]);
    const bytes = span.read();
    if (Buffer.compare(bytes, contents) !== 0) assert.deepEqual(bytes, contents);
  }

  /** Writes a whole pattern, in one of several ways. Returns its mark. */
  #fill(owned: Owned): number {
    const mark = this.#random.below(MARKS);
    const bytes = patternOf(mark, owned.size);
    const span = this.#spanOf(owned);
    switch (this.#random.below(3)) {
      case 0:
        span.write(0, bytes);
        break;
      case 1:
        this.#allocator.write(span, (code) => code.set(bytes));
        break;
      default: {
        using scope = this.#allocator.writeScope();
        scope.write(span, 0, bytes);
      }
    }
    owned.contents = bytes.slice();
    return mark;
  }

  #write(owned: Owned): void {
    const offset = this.#random.below(owned.size);
    const bytes = patternOf(this.#random.below(MARKS), this.#random.between(0, owned.size - offset));
    this.#note(`write ${owned.rx} at ${offset}, ${bytes.length} bytes`);
    this.#spanOf(owned).write(offset, bytes);
    owned.contents.set(bytes, offset);
    this.#checkContents(owned);
  }

  /** Gives up an allocation: from now on any thread may have its bytes. */
  #disown(owned: Owned): void {
    this.#claims.free(owned.rx, owned.size, owned.claim);
    const last = this.#live.pop();
    if (last !== undefined && last !== owned) this.#live[this.#live.indexOf(owned)] = last;
  }

  #release(owned: Owned): void {
    const allocator = this.#allocator;
    const { rx, span } = owned;
    this.#checkContents(owned);
    const byAddress = [() => allocator.release(rx), () => allocator.shrink(rx, 0)];
    const bySpan =
      span === undefined
        ? []
        : [
            () => span.release(),
            () => allocator.release(span),
            () => span.shrink(0),
            () => span[Symbol.dispose](),
          ];
    const release = this.#random.pick([...byAddress, ...bySpan]);
    this.#note(`${String(release).slice(6)} of ${rx}`);
    this.#disown(owned);
    release();
    this.#staleAddresses.push(rx);
    if (this.#staleAddresses.length > STALE_LIMIT) this.#staleAddresses.shift();
    if (span === undefined) return;
    assert.deepEqual([span.isReleased, span.size], [true, 0], "a span of what was released says so");
    this.#staleSpans.push(span);
    if (this.#staleSpans.length > STALE_LIMIT) this.#staleSpans.shift();
  }

  #shrink(owned: Owned): void {
    const newSize = this.#random.between(1, owned.size);
    this.#note(`shrink ${owned.rx} to ${newSize} of ${owned.size}`);
    const kept = Math.min(roundUp(newSize, owned.poolGranularity), owned.size);
    this.#claims.free(owned.rx + kept, owned.size - kept, owned.claim);
    if (owned.span !== undefined && this.#random.chance(0.5)) owned.span.shrink(newSize);
    else this.#allocator.shrink(owned.rx, newSize);
    owned.size = kept;
    owned.contents = owned.contents.slice(0, kept);
    this.#checkContents(owned);
  }

  #query({ rx, size, kind }: Owned): void {
    const address = rx + this.#random.below(size);
    this.#note(`query ${address}`);
    const found = this.#allocator.query(address);
    assert.deepEqual([found.rx, found.size, found.kind], [rx, size, kind]);
    assert.equal(this.#allocator.queryAddress(address), rx);
    const again = this.#allocator.spanOf(found.token);
    assert.deepEqual([again.rx, again.size], [rx, size]);
  }

  #give(owned: Owned): void {
    const { rx, size: sizeBytes, poolGranularity: granularity, claim } = owned;
    const kind = KINDS.indexOf(owned.kind);
    this.#note(`give ${rx}`);
    const mark = this.#fill(owned);
    const { token } = this.#spanOf(owned);
    const { generation } = token;
    const parcel = { rx, generation, sizeBytes, poolGranularity: granularity, kind, mark, claim };
    if (!this.#mailbox.put(this.#random, parcel)) return;
    this.#live.splice(this.#live.indexOf(owned), 1);
    this.#given.push({ token, isGone: false });
    if (this.#given.length > STALE_LIMIT) this.#given.shift();
  }

  #receive(): void {
    const parcel = this.#mailbox.take(this.#random);
    if (parcel !== undefined) this.#own(parcel);
  }

  #own({ rx, generation, sizeBytes, poolGranularity: granularity, kind: number, mark, claim }: Parcel): void {
    const kind = KINDS[number] ?? "code";
    const way = this.#random.pick(["token", "query", "address"] as const);
    this.#note(`receive ${rx} by ${way}`);
    const span = {
      token: () => this.#allocator.spanOf({ rx, generation }),
      query: () => this.#allocator.query(rx + this.#random.below(sizeBytes)),
      address: () => undefined,
    }[way]();
    const contents = patternOf(mark, sizeBytes).slice();
    const owned: Owned = { rx, kind, size: sizeBytes, poolGranularity: granularity, claim, span, contents };
    this.#live.push(owned);
    this.#checkContents(owned);
  }

  /** Checks that what another thread has is live or released, and that it stays released once it is. */
  #probeGiven(): void {
    if (this.#given.length === 0) return;
    const given = this.#random.pick(this.#given);
    this.#note(`spanOf ${given.token.rx}, which was given away`);
    try {
      const span = this.#allocator.spanOf(given.token);
      assert.equal(span.rx, given.token.rx);
      assert.equal(given.isGone, false, "what was released is live again");
    } catch (error) {
      if (!(error instanceof JitError && error.code === "ERR_RELEASED")) throw error;
      given.isGone = true;
    }
  }

  /** Verifies everything while the other threads go on. */
  #look(): void {
    this.#note("verify");
    this.#allocator.verify();
    const { allocationCount, usedSize, reservedSize } = this.#allocator.statistics();
    assert.ok(allocationCount >= this.#live.length, "what this thread owns is counted");
    assert.ok(usedSize <= reservedSize, "no more is used than is reserved");
  }

  #refused(expected: JitErrorCode | readonly JitErrorCode[], what: string, action: () => unknown): void {
    this.#note(what);
    throwsJitError(expected, action, what);
    this.refusalCount++;
  }

  #misuse(owned: Owned): void {
    const misuses = [
      () => this.#misuseStaleSpan(),
      () => this.#misuseSize(owned),
      () => this.#misuseForeign(),
      () => this.#misuseWrite(owned),
      () => this.#misuseNeighbour(owned),
      () => this.#misuseAddress(owned),
    ];
    this.#random.pick(misuses)();
  }

  /** Uses a released span, whichever thread has its place now. */
  #misuseStaleSpan(): void {
    if (this.#staleSpans.length === 0) return;
    const span = this.#random.pick(this.#staleSpans);
    const allocator = this.#allocator;
    assert.deepEqual([span.isReleased, span.size], [true, 0], "what was released once stays released");
    const [name, action] = this.#random.pick([
      ["release", () => span.release()],
      ["shrink", () => span.shrink(this.#random.below(3))],
      ["write", () => span.write(0, patternOf(0, 8))],
      ["emit", () => allocator.write(span, () => assert.fail("the callback of a released span ran"))],
      ["read", () => span.read()],
      ["allocator.release", () => allocator.release(span)],
      ["spanOf", () => allocator.spanOf(span.token)],
    ] as const);
    this.#refused("ERR_RELEASED", `stale span ${span.rx}: ${name}`, action);
    span[Symbol.dispose]();
  }

  #misuseSize({ rx }: Owned): void {
    const value = this.#random.pick(ABSURD_SIZES);
    const size = wrong<number>(value);
    if (this.#random.chance(0.3)) {
      if (value === 0) return;
      // Every other size tried here is no valid size, or larger than any allocation.
      this.#refused("ERR_INVALID_ARGUMENT", `shrink ${rx} to ${String(value)}`, () =>
        this.#allocator.shrink(rx, size),
      );
      return;
    }
    const isTooLarge = typeof value === "number" && Number.isInteger(value) && value > 0;
    this.#refused(isTooLarge ? "ERR_TOO_LARGE" : "ERR_INVALID_ARGUMENT", `alloc ${String(value)}`, () =>
      this.#random.chance(0.5) ? this.#allocator.alloc(size) : this.#allocator.allocAddress(size),
    );
  }

  #misuseForeign(): void {
    const allocator = this.#allocator;
    const span = this.#strangeSpan;
    const [name, action] = this.#random.pick([
      ["release", () => allocator.release(span)],
      ["shrink", () => allocator.shrink(span, this.#random.below(3))],
      ["write", () => allocator.write(span, 0, patternOf(0, 8))],
      ["release its address", () => allocator.release(span.rx)],
      ["query", () => allocator.query(span.rx + this.#random.below(span.size))],
    ] as const);
    this.#refused("ERR_UNKNOWN_ADDRESS", `span of another allocator: ${name}`, action);
  }

  #misuseWrite(owned: Owned): void {
    const span = this.#spanOf(owned);
    const bytes = patternOf(0, 8);
    const absurd = wrong<number>(this.#random.pick(NO_INDEXES));
    const [name, action] = this.#random.pick([
      ["offset", () => span.write(absurd, bytes)],
      ["too far", () => span.write(owned.size - 7, bytes)],
      ["bytes", () => span.write(0, wrong<Uint8Array>(this.#random.pick(NO_BYTES)))],
      ["policy", () => this.#allocator.write(span, 0, bytes, wrong<"never">("always"))],
      ["read", () => span.read(0, absurd)],
    ] as const);
    this.#refused("ERR_INVALID_ARGUMENT", `write or read ${span.rx} with a wrong ${name}`, action);
    this.#checkContents(owned);
  }

  /** Queries the memory beside an allocation, whichever thread owns it: it must not overlap this allocation. */
  #misuseNeighbour({ rx, size }: Owned): void {
    const isBehind = this.#random.chance(0.5);
    const address = isBehind ? rx + size : rx - 1;
    this.#note(`queryAddress ${address}, beside ${rx}`);
    try {
      const start = this.#allocator.queryAddress(address);
      assert.ok(isBehind ? start === address : start < rx, `${address} is said to be of ${start}`);
    } catch (error) {
      if (!(error instanceof JitError)) throw error;
      assert.ok(["ERR_NOT_ALLOCATED", "ERR_UNKNOWN_ADDRESS"].includes(error.code), error.code);
      this.refusalCount++;
    }
  }

  /** Uses an address where no allocation can begin, whatever the other threads do meanwhile. */
  #misuseAddress(owned: Owned): void {
    const random = this.#random;
    const { rx, size } = owned;
    const stale = this.#staleAddresses.at(-1);
    const targets: (readonly [JitErrorCode | readonly JitErrorCode[], unknown])[] = [
      ["ERR_INTERIOR_ADDRESS", rx + 1 + random.below(size - 1)],
      ["ERR_UNKNOWN_ADDRESS", random.below(4096)],
      ["ERR_INVALID_ARGUMENT", random.pick(NO_ADDRESSES)],
    ];
    const { rw } = this.#spanOf(owned);
    if (rw !== rx) targets.push(["ERR_UNKNOWN_ADDRESS", rw]);
    if (stale !== undefined) {
      const codes = ["ERR_INTERIOR_ADDRESS", "ERR_NOT_ALLOCATED", "ERR_UNKNOWN_ADDRESS"] as const;
      targets.push([codes, stale + 1]);
    }
    const [expected, target] = random.pick(targets);
    const address = wrong<number>(target);
    if (random.chance(0.5)) {
      this.#refused(expected, `release ${String(target)}`, () => this.#allocator.release(address));
    } else {
      const newSize = random.below(2);
      const what = `shrink ${String(target)} to ${newSize}`;
      this.#refused(expected, what, () => this.#allocator.shrink(address, newSize));
    }
    this.#checkContents(owned);
  }
}
