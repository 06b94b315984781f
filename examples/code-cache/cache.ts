/**
 * A code cache: functions that are compiled when they are hot, within a budget of bytes. What has not been used for a long time
 * goes first, and is compiled again when it is hot again.
 *
 * Each function has two tiers. The cold one is a few instructions that go back to the interpreter, and always there. Code calls a
 * function by its veneer, which jumps to the tier that it has: so callers need not know which one it is, and stay as they are
 * when it changes.
 *
 * ```text
 *   caller ── call ──→ veneer ── jmp ─→ cold code ── return to the interpreter
 *                          └──── jmp ─→ hot code, while it is in the cache
 * ```
 *
 * What was allocated when the cache was made stays, and so does what it needs to know a function. On top of that comes the budget,
 * and the two are the limit of the allocator. Hot code has the budget, less what the program allocates by itself: the allocator
 * says when that passes the limit (`onPressure`). What is evicted may be running: it is retired, so that it runs to its end. Until
 * then its bytes are in use, and come on top of the limit.
 */
import { JitError, type Address, type JitAllocator, type Span, type Veneer } from "jit-allocator";

/** A function that the cache knows. */
interface Entry<Key> {
  readonly key: Key;
  /** Where code calls it. */
  readonly veneer: Veneer;
  readonly cold: Span;
  /** Bytes of the two. */
  readonly sizeBytes: number;
  hot: Span | undefined;
  /** Set when it is used. The hand of the clock clears it, and evicts what it finds cleared. */
  wasUsed: boolean;
}

/** What a cache is made with. */
export interface CodeCacheOptions<Key> {
  readonly allocator: JitAllocator;
  /** Bytes: what the hot code of all functions together may take, from 0 on. */
  readonly budgetBytes: number;
  /**
   * Called when a function loses its hot code to make room: whoever calls the hot code directly must not from now on. It may run
   * in the middle of any allocation, and is not to compile. What it throws goes to who has allocated.
   */
  readonly onEvict: (key: Key) => void;
}

/** What has happened so far. */
export interface CodeCacheReport {
  /** How often hot code was put in. */
  readonly compiled: number;
  /** How often it was taken out to make room. */
  readonly evicted: number;
  /** How often a function was larger than the budget. */
  readonly refused: number;
  /** Bytes: the most that hot code took behind an addition. */
  readonly peakBytes: number;
}

/** Hot code by key. Dispose of it to release all code. */
export class CodeCache<Key> implements Disposable {
  readonly #options: CodeCacheOptions<Key>;
  readonly #entries = new Map<Key, Entry<Key>>();
  /** Entries with hot code, in the order in which the hand of the clock meets them. */
  readonly #ring = new Set<Entry<Key>>();
  /** Bytes that may be allocated in all. */
  #limitBytes: number;
  /** Bytes: the uses that the allocator tells of. */
  #watchedBytes: readonly number[] = [];
  #watches: readonly Disposable[] = [];
  /** How many operations of its own are running, one below the other: what they allocate is not to stay as it is. */
  #running = 0;
  #isDisposed = false;
  #usedBytes = 0;
  #compiled = 0;
  #evicted = 0;
  #refused = 0;
  #peakBytes = 0;

  /** @throws RangeError for a budget that is none */
  constructor(options: CodeCacheOptions<Key>) {
    const { allocator, budgetBytes } = options;
    if (!(budgetBytes >= 0))
      throw new RangeError(`A budget is a number of bytes from 0 on, not ${budgetBytes}`);
    this.#options = options;
    this.#limitBytes = measure(allocator).allocatedBytes + budgetBytes;
  }

  /**
   * Makes a function known, by its cold code. Returns the address for code to call, whichever tier the function has.
   * @throws what the allocator throws; nothing is left then
   */
  declare(key: Key, cold: Uint8Array): Address {
    if (this.#isDisposed) throw new Error("The cache was disposed of");
    if (this.#entries.has(key)) throw new Error("A function is declared twice");
    const { allocator } = this.#options;
    return this.#run(() => {
      const span = allocator.alloc(cold.length);
      try {
        span.write(0, cold);
        const veneer = allocator.veneer(span.rx);
        const sizeBytes = span.size + allocator.query(veneer.rx).size;
        this.#entries.set(key, { key, veneer, cold: span, sizeBytes, hot: undefined, wasUsed: false });
        this.#limitBytes += sizeBytes;
        return veneer.rx;
      } catch (error) {
        span[Symbol.dispose]();
        throw error;
      }
    });
  }

  /** Where code calls a function. */
  addressOf(key: Key): Address | undefined {
    return this.#entries.get(key)?.veneer.rx;
  }

  /** Notes that a function is used, so that others go before it. Returns whether it has hot code. */
  use(key: Key): boolean {
    const entry = this.#entries.get(key);
    if (entry?.hot === undefined) return false;
    entry.wasUsed = true;
    return true;
  }

  /**
   * Compiles a function: allocates `guessBytes`, lets `emit` write the code for where it will run, and keeps what that used. Code
   * that the function has already is replaced, and retired. Others are evicted until all is within budget and limit.
   * @param emit writes code for the address `rx`, and returns its bytes; undefined where they were too few: it is called again
   * with twice as many, up to the budget
   * @returns the hot code, which is the cache's to release; undefined where it is larger than the budget, or where the program has
   * allocated what it would need: it is to stay as it was then
   * @throws what `emit` and the allocator throw; the function is as it was then
   */
  compile(
    key: Key,
    guessBytes: number,
    emit: (code: Uint8Array, rx: Address) => number | undefined,
  ): Span | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) throw new Error("A function is compiled that was not declared");
    let hot: Span | undefined;
    this.#run(() => {
      hot = this.#make(entry, guessBytes, emit);
      if (hot === undefined) this.#refused += 1;
      else this.#putIn(entry, hot);
    });
    return entry.hot === hot ? hot : undefined;
  }

  /** Forgets a function, and releases all of its code: no code may call it any more. */
  forget(key: Key): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#limitBytes -= entry.sizeBytes;
    entry.veneer[Symbol.dispose]();
    this.#takeOut(entry)?.[Symbol.dispose]();
    entry.cold[Symbol.dispose]();
  }

  /** Bytes that hot code takes now. What is retired is not counted. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  get report(): CodeCacheReport {
    const [compiled, evicted, refused] = [this.#compiled, this.#evicted, this.#refused];
    return { compiled, evicted, refused, peakBytes: this.#peakBytes };
  }

  /** Releases all code: no code may call any function any more. What runs still runs to its end. */
  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const watch of this.#watches) watch[Symbol.dispose]();
    for (const key of [...this.#entries.keys()]) this.forget(key);
  }

  /** Writes code and lets the veneer jump to it. Returns undefined where there is more of it than the budget allows. */
  #make(
    { veneer }: Entry<Key>,
    guessBytes: number,
    emit: (code: Uint8Array, rx: Address) => number | undefined,
  ): Span | undefined {
    const { allocator, budgetBytes } = this.#options;
    const { granularity } = allocator;
    const mostBytes = Math.floor(budgetBytes / granularity) * granularity;
    for (let bytes = guessBytes; mostBytes > 0; bytes *= 2) {
      const hot = this.#allocate(Math.min(bytes, mostBytes));
      try {
        const code = new Uint8Array(hot.size);
        const length = emit(code, hot.rx);
        if (length !== undefined) {
          if (!(Number.isInteger(length) && length > 0 && length <= code.length))
            throw new RangeError(`Of ${code.length} bytes, ${length} cannot be code`);
          hot.shrink(length);
          hot.write(0, code.subarray(0, length));
          veneer.retarget(hot.rx);
          return hot;
        }
        hot.release();
      } catch (error) {
        hot[Symbol.dispose]();
        throw error;
      }
      if (bytes >= mostBytes) return undefined;
    }
    return undefined;
  }

  /** Allocates; where nothing more can be reserved, evicts until it can. */
  #allocate(bytes: number): Span {
    for (;;) {
      try {
        return this.#options.allocator.alloc(bytes);
      } catch (error) {
        const isFull = error instanceof JitError && error.code === "ERR_OUT_OF_MEMORY";
        if (!isFull || !this.#evictNext()) throw error;
      }
    }
  }

  #putIn(entry: Entry<Key>, hot: Span): void {
    const old = this.#takeOut(entry);
    entry.hot = hot;
    entry.wasUsed = true;
    this.#usedBytes += hot.size;
    this.#ring.add(entry); // the hand meets it last, so that it never goes to make room for itself
    this.#compiled += 1;
    old?.retire();
    this.#evictDownTo(this.#options.budgetBytes);
    this.#peakBytes = Math.max(this.#peakBytes, this.#usedBytes);
  }

  /** Returns the hot code, which is the caller's now. */
  #takeOut(entry: Entry<Key>): Span | undefined {
    const { hot } = entry;
    this.#ring.delete(entry);
    this.#usedBytes -= hot?.size ?? 0;
    entry.hot = undefined;
    return hot;
  }

  /** Runs what allocates for the cache. How much of that stays is known at its end, and nothing is evicted for it before. */
  #run<Result>(work: () => Result): Result {
    this.#running += 1;
    try {
      return work();
    } finally {
      this.#running -= 1;
      if (this.#running === 0) this.#fit();
    }
  }

  /** Evicts what there is no room for: in the budget, or below the limit beside all that others have. */
  #fit(): void {
    if (this.#isDisposed || this.#ring.size === 0) return;
    const { allocator, budgetBytes } = this.#options;
    const evicted = this.#evicted;
    const use = measure(allocator);
    const othersBytes = use.allocatedBytes - this.#usedBytes;
    try {
      this.#evictDownTo(Math.min(budgetBytes, this.#limitBytes - othersBytes));
    } finally {
      this.#listen(this.#evicted === evicted ? use : measure(allocator));
    }
  }

  /**
   * Asks to be told of the next allocation that passes the limit. The allocator tells when a use is reached that was not before.
   * Where the limit is passed already, because the program has taken it or what was retired still runs, that is one use more: the
   * next that there is.
   */
  #listen({ usedSize, paddingBytes }: Use): void {
    const { allocator } = this.#options;
    const limitBytes = this.#limitBytes + paddingBytes + 1;
    const bytes = usedSize < limitBytes ? [limitBytes] : [limitBytes, usedSize + 1];
    if (String(bytes) === String(this.#watchedBytes)) return;
    for (const watch of this.#watches) watch[Symbol.dispose]();
    this.#watchedBytes = bytes;
    this.#watches = bytes.map((each) =>
      allocator.onPressure(Math.min(each / allocator.options.maxReservedSize, 1), () => {
        if (this.#running === 0) this.#fit();
      }),
    );
  }

  /** Evicts by the clock until hot code takes so many bytes at the most: first what was not used since the hand last met it. */
  #evictDownTo(bytes: number): void {
    while (this.#usedBytes > bytes && this.#evictNext());
  }

  /** Evicts one. Returns whether there was any. */
  #evictNext(): boolean {
    // What is put in again is met again: in the second round at the latest, one is found that was not used.
    for (const entry of this.#ring) {
      if (!entry.wasUsed) {
        this.#evict(entry);
        return true;
      }
      entry.wasUsed = false;
      this.#ring.delete(entry);
      this.#ring.add(entry);
    }
    return false;
  }

  #evict(entry: Entry<Key>): void {
    // In this order: from the first step on nobody gets there any more, and who is there still may stay.
    entry.veneer.retarget(entry.cold.rx);
    const hot = this.#takeOut(entry);
    this.#evicted += 1;
    try {
      this.#options.onEvict(entry.key);
    } finally {
      hot?.retire();
    }
  }
}

/** Bytes in use. */
interface Use {
  readonly usedSize: number;
  /** Of these, what is allocated: not what was retired, and will come back, nor the padding. */
  readonly allocatedBytes: number;
  /** Of these, the granule with which each block begins. */
  readonly paddingBytes: number;
}

function measure(allocator: JitAllocator): Use {
  const { usedSize, retiredSize, blockCount } = allocator.statistics();
  const { granularity, disableInitialPadding, useMultiplePools } = allocator.options;
  // Where there are several pools, granules are up to four times as long.
  const paddingBytes = disableInitialPadding ? 0 : blockCount * granularity * (useMultiplePools ? 4 : 1);
  return { usedSize, allocatedBytes: usedSize - retiredSize - paddingBytes, paddingBytes };
}
