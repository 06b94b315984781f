import { JitAllocator } from "./allocator.ts";
import { nameCode } from "./code-names.ts";
import { checkSymbols, readSymbols, setCodeSymbols, type CodeSymbol } from "./code-symbols.ts";
import { JitError } from "../base/errors.ts";
import { numbered } from "../base/telling-apart.ts";
import type { Address } from "../ffi/contract.ts";
import { isUint8Array, typedArrayLength } from "../base/intrinsics.ts";
import type { JitAllocatorOptions } from "../engine/options.ts";
import { refuseValue } from "../engine/refusals.ts";
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";

/** Facts about a piece of code, beside its bytes. */
export interface CodeInfo {
  /** The name for people and tools, for example that of the function it was compiled from. */
  name?: string;
  /** Named parts of the code: its functions, if it has several. Tools show them beside the name. */
  symbols?: readonly CodeSymbol[];
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
  /** The spans that were added and their names, by rx. The entry of a released span is dropped when it is met. */
  readonly #added = new Map<Address, { readonly span: Span; readonly name: string | undefined }>();

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
    if (typeof codeOrSize === "number") {
      if (typeof infoOrEmit !== "function") {
        throw refuseValue("add code with", infoOrEmit, "after a size comes a function that emits the code");
      }
      return this.#publish(codeOrSize, emittedInfo, (span) => {
        this.allocator.write(span, (code) => infoOrEmit(code, span.rx));
      });
    }
    if (!isUint8Array(codeOrSize)) {
      throw refuseValue(
        "add code",
        codeOrSize,
        "it must be a Uint8Array, or a size and a function that emits it",
      );
    }
    return this.#publish(typedArrayLength(codeOrSize), infoOrEmit as CodeInfo | undefined, (span) => {
      this.allocator.write(span, 0, codeOrSize);
    });
  }

  /**
   * Releases code, given its span or its start address (rx), as `JitAllocator.release` does.
   * @throws JitError as `JitAllocator.release`
   */
  release(target: Span | Address): void {
    this.allocator.release(target);
    this.#added.delete(spanAccess.isSpan(target) ? spanAccess.rx(target) : target);
  }

  /** The name of the code that contains an address (rx), or undefined: for stack traces and disassemblers. */
  nameOf(rx: Address): string | undefined {
    let start = rx;
    try {
      start = this.allocator.queryAddress(rx);
    } catch (error) {
      // No live allocation contains rx. A released one may have begun there: its entry is dropped below.
      if (!(error instanceof JitError)) throw error;
    }
    const added = this.#added.get(start);
    if (added?.span.isReleased !== true) return added?.name;
    this.#added.delete(start);
    return undefined;
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
      for (const { span } of this.#added.values()) span[Symbol.dispose]();
    }
    this.#added.clear();
    this.#isDisposed = true;
  }

  /** The printed name: `JitRuntime 3`. The number is unique in this thread, so that assertions tell runtimes apart. */
  get [Symbol.toStringTag](): string {
    return numbered("JitRuntime", this);
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

  #publish(size: number, info: CodeInfo | undefined, write: (span: Span) => void): Span {
    const { name, symbols } = readInfo(info, size);
    this.#checkOpen();
    const span = this.allocator.alloc(size);
    try {
      write(span);
      this.#checkOpen(); // `emit` may have disposed of the runtime
      checkSymbols(symbols, span.size); // and kept fewer bytes
    } catch (error) {
      span[Symbol.dispose]();
      throw error;
    }
    this.#added.set(span.rx, { span, name });
    if (name !== undefined) nameCode(span, name);
    if (symbols.length > 0) setCodeSymbols(span, symbols);
    return span;
  }
}

/** Checks the facts about code of `size` bytes, and copies them. */
function readInfo(
  info: unknown,
  size: number,
): { readonly name: string | undefined; readonly symbols: readonly Readonly<CodeSymbol>[] } {
  if (info === undefined) return { name: undefined, symbols: [] };
  if (typeof info !== "object" || info === null) {
    throw refuseValue("add code with info", info, "it is an object");
  }
  const { name, symbols } = info as Partial<Record<keyof CodeInfo, unknown>>;
  if (name !== undefined && typeof name !== "string") {
    throw refuseValue("add code with the name", name, "a name is a string");
  }
  return { name, symbols: symbols === undefined ? [] : readSymbols(symbols, size) };
}
