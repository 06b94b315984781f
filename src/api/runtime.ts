import { AddedCode } from "./added-code.ts";
import type { Added } from "./added-code.ts";
import { addCode, JitAllocator } from "./allocator.ts";
import { checkName } from "./span-info.ts";
import { announceCode, isAnnouncing, roomBehindCode } from "../insight/announce.ts";
import { codeSymbols, nameCode, setCodeSymbols } from "../insight/code-names.ts";
import { checkSymbols, readSymbols, type CodeSymbol } from "../insight/code-symbols.ts";
import { channelOf, quietly, tell } from "../base/diagnostics.ts";
import { JitError } from "../base/errors.ts";
import { formatCount, inspectCustom } from "../base/inspect.ts";
import { numbered } from "../base/telling-apart.ts";
import type { Address } from "../ffi/contract.ts";
import { filledLength, isUint8Array, lengthOfBytes } from "../base/intrinsics.ts";
import type { JitAllocatorOptions } from "../engine/options.ts";
import { checkMustSucceed, isIndex, refuseValue } from "../engine/refusals.ts";
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";

/** Facts about a piece of code, beside its bytes. */
export interface CodeInfo {
  /** The name for people and tools, for example that of the function it was compiled from. */
  name?: string;
  /** Named parts of the code: its functions, if it has several. Tools show them beside the name. */
  symbols?: readonly CodeSymbol[];
  /**
   * How the code moves its stack pointer, for debuggers and profilers (see `announce`): DWARF call frame instructions that
   * begin with the frame at the code's first instruction. By default they are read from the code's first and last
   * instructions, which is right for code that moves it there alone.
   */
  unwind?: Uint8Array;
  /** Whether the code may take the reserve, as in `JitAllocator.alloc`. Default false. */
  mustSucceed?: boolean;
}

/** {@link CodeInfo}, checked. */
interface CheckedInfo {
  readonly name: string | undefined;
  readonly symbols: readonly Readonly<CodeSymbol>[];
  readonly unwind: Uint8Array | undefined;
  readonly mustSucceed: boolean;
}

const additions = channelOf("jit-allocator:runtime-add");
const releases = channelOf("jit-allocator:runtime-release");

const NO_INFO: CheckedInfo = { name: undefined, symbols: [], unwind: undefined, mustSucceed: false };

/** Code that was added to a runtime. */
export interface PublishedCode {
  /** The name that it was given; undefined = none. */
  readonly name: string | undefined;
  /** The address at which it begins. */
  readonly rx: Address;
  /** A copy of the code as it is now, without the padding that makes it a span. */
  readonly bytes: Uint8Array;
  /** The named parts that it was added with. */
  readonly symbols: readonly Readonly<CodeSymbol>[];
}

/**
 * Makes executable spans of code: asmjit's JitRuntime. Allocates, copies, flushes the instruction cache and keeps names.
 *
 * @example
 * ```ts
 * using runtime = new JitRuntime();
 * const span = runtime.add(new Uint8Array([0x8d, 0x04, 0x37, 0xc3]), { name: "add" });
 * toFunction(span, { parameters: ["i32", "i32"], result: "i32" })(2, 3); // 5
 * ```
 */
export class JitRuntime implements Disposable {
  /** The allocator that the code goes to. */
  readonly allocator: JitAllocator;
  readonly #ownsAllocator: boolean;
  #isDisposed = false;
  readonly #added = new AddedCode();

  /**
   * @param options the options of the allocator that the runtime makes and owns; or an `allocator` of yours and no other
   *   option: it outlives the runtime
   * @throws JitError as the constructor of JitAllocator; `ERR_INVALID_ARGUMENT` for an `allocator` beside other options
   */
  constructor(options: JitAllocatorOptions & { allocator?: JitAllocator } = {}) {
    if (typeof options !== "object" || (options as unknown) === null) {
      throw refuseValue("make a runtime of", options, "its options are an object");
    }
    if (options instanceof JitAllocator) {
      throw refuseValue("make a runtime of", options, "an allocator is no options; pass it as { allocator }");
    }
    const { allocator, ...allocatorOptions } = options;
    if (allocator !== undefined) {
      if (!(allocator instanceof JitAllocator)) {
        throw refuseValue("make a runtime on", allocator, "the allocator must be a JitAllocator");
      }
      if (Object.keys(allocatorOptions).length > 0) {
        throw new JitError(
          "ERR_INVALID_ARGUMENT",
          `Cannot make a runtime: the allocator is given, so its options (${Object.keys(allocatorOptions).join(", ")}) cannot be`,
        );
      }
    }
    this.#ownsAllocator = allocator === undefined;
    this.allocator = allocator ?? new JitAllocator(allocatorOptions);
  }

  /**
   * Allocates a span and writes code into it: a copy of `code`; or, for code that needs its own address, whatever `emit`
   * leaves in a buffer of `size` bytes (rounded up to the granularity). `emit` is given the address at which the code
   * will run (rx). If it returns a number, only that many bytes are kept.
   *
   * @throws JitError as `JitAllocator.alloc` and `write`, `ERR_DISPOSED`; after any failure, also in `emit`, nothing stays
   *   allocated
   */
  add(code: Uint8Array, info?: CodeInfo): Span;
  add(size: number, emit: (code: Uint8Array, rx: Address) => number | void, info?: CodeInfo): Span;
  add(
    codeOrSize: Uint8Array | number,
    infoOrEmit?: CodeInfo | ((code: Uint8Array, rx: Address) => number | void),
    emittedInfo?: CodeInfo,
  ): Span {
    const sizeBytes = filledLength(codeOrSize);
    const isPlain = sizeBytes !== 0 && infoOrEmit === undefined && !this.#isDisposed;
    if (!isPlain || typeof codeOrSize === "number" || isAnnouncing() || additions.hasSubscribers)
      return this.#addAs(codeOrSize, infoOrEmit, emittedInfo);
    // The usual case by itself: V8 compiles it in one piece only where it is short.
    const span = addCode(this.allocator, codeOrSize, sizeBytes, false);
    this.#added.append(span, sizeBytes);
    return span;
  }

  #addAs(
    codeOrSize: Uint8Array | number,
    infoOrEmit: CodeInfo | ((code: Uint8Array, rx: Address) => number | void) | undefined,
    emittedInfo: CodeInfo | undefined,
  ): Span {
    if (!isUint8Array(codeOrSize)) return this.#emit(codeOrSize, infoOrEmit, emittedInfo);
    const sizeBytes = lengthOfBytes(codeOrSize);
    const info = infoOrEmit === undefined ? NO_INFO : readInfo(infoOrEmit, sizeBytes);
    this.#checkOpen();
    const isAnnounced = isAnnouncing();
    const size = isAnnounced ? sizeBytes + roomBehind(sizeBytes) : sizeBytes;
    const span = addCode(this.allocator, codeOrSize, size, info.mustSucceed);
    this.#added.append(span, sizeBytes);
    if (info !== NO_INFO || isAnnounced || additions.hasSubscribers)
      publish(span, sizeBytes, info, codeOrSize);
    return span;
  }

  /**
   * Releases code, given its span or its start address (rx), as `JitAllocator.release` does.
   * @throws JitError as `JitAllocator.release`
   */
  release(target: Span | Address): void {
    if (releases.hasSubscribers) this.#releaseLoudly(target);
    else this.allocator.release(target);
  }

  /** Releases code, and tells of it. */
  #releaseLoudly(target: Span | Address): void {
    const rx = spanAccess.isSpan(target) ? spanAccess.rx(target) : target;
    const name = this.nameOf(rx);
    this.allocator.release(target);
    tell("jit-allocator:runtime-release", () => ({ rx, name }));
  }

  /**
   * The name of the code that contains an address (rx), or undefined: for stack traces and disassemblers. Code has the name
   * that it was added with, or one that `alloc` or `toFunction` was given.
   */
  nameOf(rx: Address): string | undefined {
    return this.allocator.nameOf(rx);
  }

  /**
   * The code that contains an address (rx), or that of a span: its name, its start, its symbols, and its bytes, just as many
   * as were added. Undefined for what this runtime has not added, and for what has ended.
   *
   * @throws JitError `ERR_OUT_OF_MEMORY` where there is no memory for the copy
   * @example
   * ```ts
   * using runtime = new JitRuntime();
   * const span = runtime.add(new Uint8Array([0xc3]), { name: "nothing" });
   * runtime.codeOf(span.rx)?.bytes.length; // 1
   * ```
   */
  codeOf(target: Span | Address): PublishedCode | undefined {
    const isSpan = spanAccess.isSpan(target);
    const added = this.#addedAt(isSpan ? spanAccess.rx(target) : target);
    if (added === undefined || (isSpan && target.isReleased)) return undefined;
    const { span, sizeBytes } = added;
    const rx = spanAccess.rx(span);
    return {
      name: this.allocator.nameOf(rx),
      rx,
      bytes: span.read(0, Math.min(sizeBytes, span.size)), // it may have been shrunk
      symbols: codeSymbols(span),
    };
  }

  /** What was added, is live, and contains an address. */
  #addedAt(rx: Address): Added | undefined {
    try {
      return this.#added.at(quietly(() => this.allocator.queryAddress(rx)));
    } catch (error) {
      if (error instanceof JitError) return undefined; // no live allocation contains it
      throw error;
    }
  }

  /**
   * Releases all added code that is still live; disposes of the allocator if this runtime made it. Idempotent.
   *
   * @throws JitError as `JitAllocator.dispose`; the call can be repeated
   */
  dispose(): void {
    if (this.#ownsAllocator) {
      this.allocator.dispose();
    } else {
      this.#added.releaseAll();
    }
    this.#added.clear();
    this.#isDisposed = true;
  }

  /** The printed name: `JitRuntime 3`. The number is unique in this thread, so that assertions tell runtimes apart. */
  get [Symbol.toStringTag](): string {
    return numbered("JitRuntime", this);
  }

  /** What consoles show. @internal */
  [inspectCustom](): string {
    if (!(#added in this)) return "JitRuntime";
    const title = numbered("JitRuntime", this);
    if (this.#isDisposed) return `${title}, disposed`;
    return `${title} of ${formatCount(this.#added.countLive())} on ${this.allocator[inspectCustom]()}`;
  }

  /** The end of a `using` block: {@link dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #checkOpen(): void {
    if (this.#isDisposed) {
      throw new JitError("ERR_DISPOSED", "Cannot add code: the runtime has been disposed; make another one");
    }
  }

  /** Adds what `emit` leaves in a span. */
  #emit(size: unknown, emit: unknown, givenInfo: CodeInfo | undefined): Span {
    if (typeof size !== "number") {
      throw refuseValue("add code", size, "it must be a Uint8Array, or a size and a function that emits it");
    }
    if (!isEmitter(emit)) {
      throw refuseValue("add code with", emit, "after a size comes a function that emits the code");
    }
    const info = readInfo(givenInfo, size);
    const room = roomBehind(size);
    this.#checkOpen();
    const { mustSucceed } = info;
    const span = mustSucceed
      ? this.allocator.alloc(size + room, { mustSucceed })
      : this.allocator.alloc(size + room);
    const wholeBytes = span.size - room;
    let sizeBytes = wholeBytes;
    try {
      this.allocator.write(span, (code) => {
        const kept: unknown = emit(room === 0 ? code : code.subarray(0, wholeBytes), span.rx);
        if (typeof kept === "number") sizeBytes = kept;
        return isIndex(kept) && kept > 0 && kept <= wholeBytes ? kept + room : (kept as number | void);
      });
      this.#checkOpen(); // `emit` may have disposed of the runtime
      checkSymbols(info.symbols, span.size - room); // and kept fewer bytes
    } catch (error) {
      span[Symbol.dispose]();
      throw error;
    }
    this.#added.append(span, sizeBytes);
    publish(span, sizeBytes, info, undefined);
    return span;
  }
}

/** Names what has been written, and tells whoever wants to know. @param bytes the code; undefined = only the span has it */
function publish(span: Span, sizeBytes: number, info: CheckedInfo, bytes: Uint8Array | undefined): void {
  const { name, symbols, unwind } = info;
  if (name !== undefined) nameCode(span, name);
  if (symbols.length > 0) setCodeSymbols(span, symbols);
  if (isAnnouncing()) announceCode({ span, sizeBytes, bytes: bytes ?? span.read(0, sizeBytes), unwind });
  tell("jit-allocator:runtime-add", () => ({ rx: span.rx, size: sizeBytes, name }));
}

/** Whether a value is a function; what it does with its arguments is its own matter. */
function isEmitter(value: unknown): value is (code: Uint8Array, rx: Address) => number | void {
  return typeof value === "function";
}

/** Bytes that are left free behind code of that size. An invalid size is refused as it is. */
function roomBehind(size: number): number {
  return isIndex(size) && size > 0 ? roomBehindCode() : 0;
}

/** Checks the facts about code of `size` bytes, and copies them. Each is read once. */
function readInfo(info: unknown, size: number): CheckedInfo {
  if (info === undefined) return NO_INFO;
  if (typeof info !== "object" || info === null) {
    throw refuseValue("add code with info", info, "it is an object");
  }
  const { name, symbols, unwind, mustSucceed } = info as Partial<Record<keyof CodeInfo, unknown>>;
  if (unwind !== undefined && !isUint8Array(unwind)) {
    throw refuseValue("add code with the unwind information", unwind, "it is a Uint8Array");
  }
  return {
    name: checkName("add code", name),
    symbols: symbols === undefined ? [] : readSymbols(symbols, size),
    unwind,
    mustSucceed: checkMustSucceed("add code", mustSucceed),
  };
}
