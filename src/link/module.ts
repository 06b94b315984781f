/**
 * Modules: several spans, of all kinds, that come and go as one. Their addresses are known before a byte is written, so that
 * code can be emitted for the place where it will run, with relocations to the other parts.
 *
 * The life of a module:
 * 1. The builder allocates its parts, and each has its address. Their bytes are a copy outside of executable memory.
 * 2. `commit` copies all bytes to their places, makes them safe to run in one flush, and returns the module. Where anything
 *    fails, in here or before, all parts are released.
 * 3. The module is released: all of its spans, and its veneers.
 */
import { JitError } from "../base/errors.ts";
import { copyBytes, isUint8Array, newBytes, typedArrayLength } from "../base/intrinsics.ts";
import { numbered } from "../base/telling-apart.ts";
import type { ModuleTicket } from "../engine/contract.ts";
import type { SpanKind } from "../engine/kinds.ts";
import { kindNumber } from "../engine/kinds.ts";
import { checkMustSucceed, outOfCopies, refuseReleased, refuseValue } from "../engine/refusals.ts";
import type { Span } from "../engine/span.ts";
import { WriteScope } from "../engine/write-scope.ts";
import type { Address } from "../ffi/contract.ts";
import type { Operations, Veneer, VeneerPool } from "./veneers.ts";

/** A part of a module that is being built. */
export interface ModulePart {
  /** Where it will be: the address of the executable view; for data, where it is read and written. */
  readonly rx: Address;
  /** Bytes, as they were asked for. */
  readonly size: number;
  /** What `commit` copies there: zero at first, or the bytes that were given. Changes behind `commit` do nothing. */
  readonly bytes: Uint8Array;
}

/** Facts about a part. */
export interface PartInfo {
  /** The name for people and tools. */
  readonly name?: string;
  /** Whether it may take the reserve, as in `JitAllocator.alloc`: for code alone. Default false. */
  readonly mustSucceed?: boolean;
}

/** Called with each span of a module that is committed, and the name of its part. */
export type NameSpan = (span: Span, name: string) => void;

/** A part, and what becomes of it. */
interface BuiltPart {
  readonly span: Span;
  readonly part: ModulePart;
  readonly name: string | undefined;
}

/** The secret without which nobody can make a builder or a module: it never leaves this file. */
const key = Symbol("module");

/**
 * A transaction over several spans, made by `JitAllocator.module`. Disposed without a commit, it leaves nothing.
 *
 * @example
 * ```ts
 * using builder = allocator.module();
 * const counter = builder.data(8);
 * const entry = builder.code(64);
 * entry.bytes.set(code); // with the address counter.rx, say
 * const loaded = builder.commit();
 * loaded.release();
 * ```
 */
export class ModuleBuilder implements Disposable {
  readonly #operations: Operations;
  readonly #veneers: VeneerPool;
  readonly #nameSpan: NameSpan;
  readonly #ticket: ModuleTicket = { batch: -1, last: 0 };
  #parts: BuiltPart[] = [];
  #taken: Veneer[] = [];
  #isOver = false;

  /** @internal */
  constructor(operations: Operations, veneers: VeneerPool, nameSpan: NameSpan) {
    this.#operations = operations;
    this.#veneers = veneers;
    this.#nameSpan = nameSpan;
  }

  /**
   * Allocates a part for code: a copy of bytes, or so many bytes to be filled in.
   * @throws JitError as `JitAllocator.alloc`, and nothing has changed; `ERR_DISPOSED` after the commit or the disposal
   */
  code(bytesOrSize: Uint8Array | number, info?: PartInfo): ModulePart {
    return this.#add("code", bytesOrSize, info);
  }

  /** Allocates a part for constants, as {@link code} does for code. @throws JitError as {@link code} */
  constants(bytesOrSize: Uint8Array | number, info?: PartInfo): ModulePart {
    return this.#add("constants", bytesOrSize, info);
  }

  /** Allocates a part for data, as {@link code} does for code. @throws JitError as {@link code} */
  data(bytesOrSize: Uint8Array | number, info?: PartInfo): ModulePart {
    return this.#add("data", bytesOrSize, info);
  }

  /**
   * Takes a veneer, which goes with the module, and returns its address. @throws JitError as `JitAllocator.veneer`;
   * `ERR_DISPOSED`
   */
  veneer(target: Address): Address {
    this.#checkOpen("take a veneer for");
    const veneer = this.#veneers.take(target);
    this.#taken.push(veneer);
    return veneer.rx;
  }

  /**
   * Copies all bytes to their places, makes them safe to run, and returns the module. The builder is over then.
   * @throws JitError what the system refuses, `ERR_RELEASED` where a part was released by its address; `ERR_DISPOSED`. The
   *   builder is disposed then, and nothing is left
   */
  commit(): JitModule {
    this.#checkOpen("commit");
    try {
      const scope = new WriteScope(this.#operations, "default");
      for (const { span, part } of this.#parts) scope.write(span, 0, part.bytes);
      scope[Symbol.dispose]();
      this.#operations().commitModule(this.#ticket);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    for (const { span, name } of this.#parts) if (name !== undefined) this.#nameSpan(span, name);
    const spans = this.#parts.map(({ span }) => span);
    const veneers = this.#taken;
    this.#parts = [];
    this.#taken = [];
    this.#isOver = true;
    return new JitModule(key, this.#operations, this.#ticket, spans, veneers);
  }

  /** The printed name: `ModuleBuilder 3`. The number is unique in this thread, so that assertions tell builders apart. */
  get [Symbol.toStringTag](): string {
    return numbered("ModuleBuilder", this);
  }

  /**
   * Releases everything, unless it was committed: the end of a `using` block. Idempotent.
   * @throws JitError the system's refusal to unmap a block; the disposal can be repeated
   */
  [Symbol.dispose](): void {
    this.#isOver = true;
    const spans = this.#parts.map(({ span }) => span);
    releaseLive(this.#operations, this.#ticket, spans, this.#taken);
    this.#parts = [];
    this.#taken = [];
  }

  #add(kind: SpanKind, bytesOrSize: Uint8Array | number, info: PartInfo | undefined): ModulePart {
    this.#checkOpen(`add ${kind} to`);
    const { name, mustSucceed } = readPartInfo(info);
    const isSize = typeof bytesOrSize === "number";
    if (!isSize && !isUint8Array(bytesOrSize)) {
      throw refuseValue("add to a module", bytesOrSize, "a part is a Uint8Array, or a number of bytes");
    }
    const size = isSize ? bytesOrSize : typedArrayLength(bytesOrSize);
    const span = this.#operations().allocPart(this.#ticket, size, kindNumber(kind), mustSucceed);
    try {
      const bytes = newBytes(size);
      if (bytes === undefined) throw outOfCopies("stage", size);
      if (!isSize) copyBytes(bytes, bytesOrSize, 0);
      const part: ModulePart = Object.freeze({ rx: span.rx, size, bytes });
      this.#parts.push({ span, part, name });
      return part;
    } catch (error) {
      span[Symbol.dispose]();
      throw error;
    }
  }

  #checkOpen(action: string): void {
    if (this.#isOver) {
      const reason = "it was committed or disposed; make another one with module()";
      throw new JitError("ERR_DISPOSED", `Cannot ${action} a module: ${reason}`);
    }
    this.#operations().checkOpen(`${action} a module of`);
  }
}

/** Several spans that were committed together, and go together. Made by `ModuleBuilder.commit`. */
export class JitModule implements Disposable {
  /** The spans of its parts, in the order in which they were added. */
  readonly spans: readonly Span[];
  readonly #operations: Operations;
  readonly #ticket: ModuleTicket;
  readonly #veneers: readonly Veneer[];
  #isReleased = false;

  /** @internal */
  constructor(
    secret: symbol,
    operations: Operations,
    ticket: ModuleTicket,
    spans: readonly Span[],
    veneers: readonly Veneer[],
  ) {
    if (secret !== key) throw new TypeError("Cannot make a JitModule: commit a ModuleBuilder");
    this.spans = Object.freeze(spans);
    this.#operations = operations;
    this.#ticket = ticket;
    this.#veneers = veneers;
  }

  /** Whether it was released, or all of its spans have ended in another way: a reset, or the disposal of the allocator. */
  get isReleased(): boolean {
    return this.#isReleased || (this.spans.length > 0 && this.spans.every((span) => span.isReleased));
  }

  /**
   * Releases all of its spans and veneers. Those that may be running end now, and their memory is used again later: see
   * `JitAllocator.retire`. Spans that have ended already are left alone.
   *
   * @throws JitError `ERR_RELEASED`; the system's refusal to unmap a block. Where it refuses the first one that has to go,
   *   nothing has changed; call again
   */
  release(): void {
    if (this.isReleased) throw refuseReleased("release", this.spans[0]?.rx ?? 0);
    releaseLive(this.#operations, this.#ticket, this.spans, this.#veneers);
    this.#isReleased = true;
  }

  /** Releases the module while its code may be running. @throws JitError as {@link release} */
  retire(): void {
    this.release();
  }

  /** The printed name: `JitModule 3`. The number is unique in this thread, so that assertions tell modules apart. */
  get [Symbol.toStringTag](): string {
    return numbered("JitModule", this);
  }

  /** Releases the module if it is still live: the end of a `using` block. */
  [Symbol.dispose](): void {
    if (!this.isReleased) this.release();
  }
}

/** Releases what is live of these spans, and then the veneers, which have little to be refused. */
function releaseLive(
  operations: Operations,
  ticket: ModuleTicket,
  spans: readonly Span[],
  veneers: readonly Veneer[],
): void {
  const live = spans.filter((span) => !span.isReleased);
  if (live.length > 0) operations().releaseModule(ticket, live);
  for (const veneer of veneers) veneer[Symbol.dispose]();
}

/** Reads each field once. @throws JitError `ERR_INVALID_ARGUMENT` for what is no information about a part */
function readPartInfo(info: unknown): { readonly name: string | undefined; readonly mustSucceed: boolean } {
  if (info === undefined) return { name: undefined, mustSucceed: false };
  if (typeof info !== "object" || info === null)
    throw refuseValue("add to a module with", info, "what follows is an object: { name, mustSucceed }");
  const { name, mustSucceed } = info as Partial<Record<keyof PartInfo, unknown>>;
  if (name !== undefined && typeof name !== "string")
    throw refuseValue("add to a module with the name", name, "a name is a string");
  return { name, mustSucceed: checkMustSucceed("add to a module", mustSucceed) };
}
