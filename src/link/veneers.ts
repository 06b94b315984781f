/**
 * Veneers: stubs that jump to any address. Code calls a veneer where its real target is out of reach, or may change.
 *
 * ```text
 * x86-64   ┌ jmp [rip + 2] ┬ ud2 ┬ cell: 8 bytes ┐      AArch64   ┌ ldr x16, cell ┬ br x16 ┬ cell: 8 bytes ┐
 *          0               6     8               16               0               4        8               16
 * ```
 *
 * The address of the target stands in a cell of the stub, at a multiple of 8. The jump reads it as data, and one store
 * replaces it: whoever calls meanwhile jumps to the old or to the new target, and no instruction ever changes.
 *
 * A stub is an allocation of its own, of one granule: so it lies where all code lies, and nothing else shares its cache
 * line. Veneers of one target have one stub, which goes with the last of them. In a shared allocator each thread has stubs
 * of its own: they are its allocations, whatever becomes of the thread.
 */
import { formatAddress, JitError } from "../base/errors.ts";
import { platform } from "../base/platform.ts";
import type { ProcessorName } from "../base/platform.ts";
import { numbered } from "../base/telling-apart.ts";
import type { AllocatorOperations } from "../engine/operations.ts";
import { isIndex, refuseReleased, refuseValue } from "../engine/refusals.ts";
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import type { Address } from "../ffi/contract.ts";

/** Bytes from the start of a stub to its cell, and of a stub with its cell. */
const CELL_AT = 8;
const STUB_BYTES = 16;

/** The code of a stub, up to its cell. */
const CODES: Readonly<Record<ProcessorName, readonly number[] | undefined>> = {
  x64: [0xff, 0x25, 0x02, 0x00, 0x00, 0x00, 0x0f, 0x0b], // jmp [rip + 2]; ud2
  arm64: [0x50, 0x00, 0x00, 0x58, 0x00, 0x02, 0x1f, 0xd6], // ldr x16, . + 8; br x16
  other: undefined,
};

/** Runs the operations of an allocator; a function, because an allocator that becomes shared has others from then on. */
export type Operations = () => AllocatorOperations;

/** Names a stub for its target. */
type NameStub = (stub: Span, target: Address) => void;

/** A stub, and how many veneers have it. */
interface Stub {
  readonly span: Span;
  target: Address;
  count: number;
}

/** The secret without which nobody can make a veneer: it never leaves this file. */
const key = Symbol("veneer");

/**
 * A stub that jumps to an address, within reach of all code of its allocator where the allocator has a range (on AArch64: of
 * the code within 128 MiB). Made by `JitAllocator.veneer`. On the way it changes x16 on AArch64, and nothing on x86-64.
 *
 * @example
 * ```ts
 * const veneer = allocator.veneer(span.rx); // code calls veneer.rx
 * veneer.retarget(span.rx + 16); // and from now on gets here
 * veneer.release();
 * ```
 */
export class Veneer implements Disposable {
  readonly #pool: VeneerPool;
  readonly #stub: Stub;
  #isReleased = false;

  /** @internal */
  constructor(secret: symbol, pool: VeneerPool, stub: Stub) {
    if (secret !== key) throw new TypeError("Cannot make a Veneer: ask a JitAllocator for one with veneer()");
    this.#pool = pool;
    this.#stub = stub;
  }

  /** The address of the stub, for code to call or to jump to. It stays the same after the release. */
  get rx(): Address {
    return spanAccess.rx(this.#stub.span);
  }

  /** Where the stub jumps to. */
  get target(): Address {
    return this.#stub.target;
  }

  /** Whether it was released, or its allocator was reset or disposed. */
  get isReleased(): boolean {
    return this.#isReleased || this.#stub.span.isReleased;
  }

  /**
   * Makes the stub jump to another address, for all veneers that have it. One store: whoever calls meanwhile, in any thread,
   * gets to the old or to the new target. Who is on the way to the old one still gets there: do not release it yet.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT` for what is no address; `ERR_RELEASED`; `ERR_FEATURE_NOT_ENABLED` where this
   *   process can make no such store
   */
  retarget(target: Address): void {
    checkTarget(target);
    if (this.#isReleased) throw refuseReleased("retarget", this.rx);
    this.#pool.retarget(this.#stub, target);
  }

  /**
   * Releases the veneer. With the last one of its target the stub goes: no code may call it any more.
   * @throws JitError `ERR_RELEASED`; the system's refusal to unmap a block that became empty
   */
  release(): void {
    if (this.#isReleased) throw refuseReleased("release", this.rx);
    this.#pool.release(this.#stub);
    this.#isReleased = true;
  }

  /** The printed name: `Veneer 3`. The number is unique in this thread, so that assertions tell veneers apart. */
  get [Symbol.toStringTag](): string {
    return numbered("Veneer", this);
  }

  /** Releases the veneer if it is still live: the end of a `using` block. */
  [Symbol.dispose](): void {
    if (!this.isReleased) this.release();
    this.#isReleased = true;
  }
}

/** The veneers that one thread has of an allocator. */
export class VeneerPool {
  readonly #operations: Operations;
  readonly #nameStub: NameStub | undefined;
  readonly #code: readonly number[] | undefined;
  /** By target. A stub whose allocation was ended by something else is dropped when it is met. */
  readonly #stubs = new Map<Address, Stub>();

  constructor(operations: Operations, nameStub?: NameStub, processor: ProcessorName = platform.processor) {
    this.#operations = operations;
    this.#nameStub = nameStub;
    this.#code = CODES[processor];
  }

  /** @throws JitError as `JitAllocator.veneer` */
  take(target: Address): Veneer {
    checkTarget(target);
    const known = this.#stubs.get(target);
    const stub = known?.span.isReleased === false ? known : this.#make(target);
    stub.count += 1;
    this.#stubs.set(target, stub);
    return new Veneer(key, this, stub);
  }

  #make(target: Address): Stub {
    if (this.#code === undefined) {
      throw new JitError(
        "ERR_FEATURE_NOT_ENABLED",
        `Cannot make a veneer to ${formatAddress(target)}: this library has no stub for this processor`,
      );
    }
    const operations = this.#operations();
    const span = operations.alloc(STUB_BYTES);
    try {
      const bytes = new Uint8Array(STUB_BYTES);
      bytes.set(this.#code);
      bytes.set(cellOf(target), CELL_AT);
      operations.writeBytes(span, 0, bytes, "default");
      this.#nameStub?.(span, target);
      return { span, target, count: 0 };
    } catch (error) {
      span[Symbol.dispose]();
      throw error;
    }
  }

  retarget(stub: Stub, target: Address): void {
    this.#operations().store(stub.span, CELL_AT, cellOf(target));
    this.#forget(stub);
    stub.target = target;
    this.#nameStub?.(stub.span, target);
    if (!this.#stubs.has(target)) this.#stubs.set(target, stub);
  }

  release(stub: Stub): void {
    if (stub.count > 1 && !stub.span.isReleased) {
      stub.count -= 1;
      return;
    }
    stub.span.release();
    stub.count = 0;
    this.#forget(stub);
  }

  #forget(stub: Stub): void {
    if (this.#stubs.get(stub.target) === stub) this.#stubs.delete(stub.target);
  }
}

function cellOf(target: Address): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(target)).buffer);
}

function checkTarget(target: unknown): asserts target is Address {
  if (!isIndex(target)) throw refuseValue("jump to", target, "an address is an integer from 0 on");
}
