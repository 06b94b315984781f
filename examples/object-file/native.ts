/** Calls functions of shared libraries, which lie outside of every span. */
import type { Address, JitAllocator, Signature, TypedFunction } from "jit-allocator";
import { nativeSymbol, toFunction } from "jit-allocator";

/** Finds a function by its name: in a linked archive, or in a shared library. */
export type FindFunction = <const S extends Signature>(name: string, signature: S) => TypedFunction<S>;

/** A function of a shared library that TypeScript can call, until it is disposed. */
export interface NativeFunction<S extends Signature> extends Disposable {
  readonly call: TypedFunction<S>;
}

/** Makes the function at an address callable: through a veneer, which is a span and can be called. */
export function nativeFunction<const S extends Signature>(
  allocator: JitAllocator,
  address: Address,
  signature: S,
): NativeFunction<S> {
  const veneer = allocator.veneer(address);
  try {
    const call = toFunction(allocator.query(veneer.rx), signature);
    return { call, [Symbol.dispose]: () => veneer.release() };
  } catch (error) {
    veneer.release();
    throw error;
  }
}

const DLOPEN = { parameters: ["cstring", "i32"], result: "pointer" } as const;
/**
 * RTLD_NOW, and RTLD_DEEPBIND of the GNU C library: the library calls its own functions. Without, it calls those of the
 * program where that has some of the same name, as Node has those of zlib.
 */
const NOW_AND_DEEP = 0x2 | 0x8;

/** The functions of a shared library, until it is disposed. The library itself stays loaded. */
export class SharedObject implements Disposable {
  readonly #allocator: JitAllocator;
  readonly #file: string;
  readonly #functions: Disposable[] = [];

  /** @param file the name by which the system finds it: `libz.so.1` */
  constructor(allocator: JitAllocator, file: string) {
    this.#allocator = allocator;
    this.#file = file;
    using open = nativeFunction(allocator, nativeSymbol("dlopen"), DLOPEN);
    open.call(file, NOW_AND_DEEP);
  }

  /** @throws JitError `ERR_UNKNOWN_SYMBOL` where there is no such function, or no such library */
  toFunction<const S extends Signature>(name: string, signature: S): TypedFunction<S> {
    const found = nativeFunction(this.#allocator, nativeSymbol(name, this.#file), signature);
    this.#functions.push(found);
    return found.call;
  }

  [Symbol.dispose](): void {
    for (const each of this.#functions.splice(0)) each[Symbol.dispose]();
  }
}
