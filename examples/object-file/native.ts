/** Calls functions of shared libraries, which lie outside of every span. */
import type { Address, JitAllocator, Signature, TypedFunction } from "jit-allocator";
import { toFunction } from "jit-allocator";

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
