/**
 * A code cache: functions that are compiled when they are hot, within a budget of bytes. What has not been used for longest goes
 * first, and is compiled again when it is hot again.
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
 * The budget is a ratio of what the allocator may take, and the allocator says when it is passed (`onPressure`). What is evicted
 * may be running: it is retired, so that it runs to its end.
 */
import type { Address, JitAllocator, Span, Veneer } from "jit-allocator";

/** A function that the cache knows. */
interface Entry<Key> {
  readonly key: Key;
  /** Where code calls it. */
  readonly veneer: Veneer;
  readonly cold: Span;
  hot: Span | undefined;
  /** Set when it is used. The hand of the clock clears it, and evicts what it finds cleared. */
  wasUsed: boolean;
}

/** What a cache is made with. */
export interface CodeCacheOptions<Key> {
  readonly allocator: JitAllocator;
  /** Bytes: what the hot code of all functions together may take. */
  readonly budgetBytes: number;
  /** Called when a function has no hot code any more: whoever calls the hot code directly must not from now on. */
  readonly onEvict: (key: Key) => void;
}

/** What has happened so far. */
export interface CodeCacheReport {
  readonly compiled: number;
  readonly evicted: number;
  /** Functions that are larger than the budget. */
  readonly refused: number;
  /** Bytes: the most that hot code took between two additions. */
  readonly peakBytes: number;
}

/** Hot code by key. Dispose of the allocator to release all code. */
export class CodeCache<Key> implements Disposable {
  readonly #options: CodeCacheOptions<Key>;
  readonly #entries = new Map<Key, Entry<Key>>();
  /** Entries with hot code, in the order in which the hand of the clock meets them. */
  #ring: Entry<Key>[] = [];
  #listening: Disposable | undefined;
  #newest: Entry<Key> | undefined;
  #compiled = 0;
  #evicted = 0;
  #refused = 0;
  #peakBytes = 0;

  constructor(options: CodeCacheOptions<Key>) {
    this.#options = options;
  }

  /** Makes a function known, by its cold code. Returns the address for code to call, whichever tier the function has. */
  declare(key: Key, cold: Uint8Array): Address {
    const { allocator } = this.#options;
    const span = allocator.alloc(cold.length);
    span.write(0, cold);
    const veneer = allocator.veneer(span.rx);
    this.#entries.set(key, { key, veneer, cold: span, hot: undefined, wasUsed: false });
    return veneer.rx;
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
   * Compiles a function: allocates `guessBytes`, lets `emit` write the code for where it will run, and keeps what that used.
   * @param emit writes code for the address `rx`, and returns its bytes; undefined where they were too few
   * @returns the hot code; undefined where it is larger than the budget; it is to stay cold then
   * @throws what `emit` and the allocator throw; the function is as it was then
   */
  compile(
    key: Key,
    guessBytes: number,
    emit: (code: Uint8Array, rx: Address) => number | undefined,
  ): Span | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) throw new Error("A function is compiled that was not declared");
    const { allocator } = this.#options;
    this.#listening ??= this.#listen();
    this.#newest = entry;
    const hot = allocator.alloc(guessBytes); // pressure may evict others here
    try {
      const code = new Uint8Array(hot.size);
      const length = emit(code, hot.rx);
      if (length === undefined) {
        hot.release();
        return this.compile(key, 2 * guessBytes, emit);
      }
      hot.shrink(length);
      hot.write(0, code.subarray(0, hot.size));
    } catch (error) {
      hot[Symbol.dispose]();
      throw error;
    }
    if (this.usedBytes + hot.size > this.#options.budgetBytes)
      this.#evictDownTo(this.#options.budgetBytes - hot.size);
    if (hot.size > this.#options.budgetBytes) {
      this.#refused += 1;
      hot.release();
      return undefined;
    }
    entry.hot = hot;
    entry.wasUsed = true;
    entry.veneer.retarget(hot.rx);
    this.#ring.push(entry);
    this.#compiled += 1;
    this.#peakBytes = Math.max(this.#peakBytes, this.usedBytes);
    return hot;
  }

  /** Bytes that hot code takes now. */
  get usedBytes(): number {
    return this.#ring.reduce((sum, { hot }) => sum + (hot?.size ?? 0), 0);
  }

  get report(): CodeCacheReport {
    const [compiled, evicted, refused] = [this.#compiled, this.#evicted, this.#refused];
    return { compiled, evicted, refused, peakBytes: this.#peakBytes };
  }

  /** Lets the allocator be: nothing is evicted any more. */
  [Symbol.dispose](): void {
    this.#listening?.[Symbol.dispose]();
  }

  /** Everything that is allocated by now stays: what comes on top has the budget, and pressure says when it is used up. */
  #listen(): Disposable {
    const { allocator, budgetBytes } = this.#options;
    const limitBytes = allocator.statistics().usedSize + budgetBytes;
    const ratio = Math.min(limitBytes / allocator.options.maxReservedSize, 1);
    return allocator.onPressure(ratio, ({ usedSize }) => {
      // What was evicted while it ran is in use until it has ended: nothing else need go for it.
      const keptBytes = usedSize - allocator.statistics().retiredSize;
      this.#evictDownTo(this.usedBytes - (keptBytes - limitBytes));
    });
  }

  /** Evicts by the clock until hot code takes so many bytes at the most: first what was not used since the hand last met it. */
  #evictDownTo(bytes: number): void {
    while (this.usedBytes > bytes && this.#ring.length > 0) {
      const [entry] = this.#ring.splice(0, 1);
      if (entry === undefined) return;
      if (entry.wasUsed && entry !== this.#newest) {
        entry.wasUsed = false;
        this.#ring.push(entry);
      } else {
        this.#evict(entry);
      }
    }
  }

  #evict(entry: Entry<Key>): void {
    // In this order: from the first step on nobody gets there any more, and who is there still may stay.
    entry.veneer.retarget(entry.cold.rx);
    this.#options.onEvict(entry.key);
    entry.hot?.retire();
    entry.hot = undefined;
    this.#evicted += 1;
  }
}
