/** Tells the C runtime how to unwind the stack through linked code. */
import type { Address, JitAllocator } from "jit-allocator";
import { find } from "./externals.ts";
import { nativeFunction, type NativeFunction } from "./native.ts";

/** The library whose unwinder the C library uses, for `backtrace` and for the end of a thread. */
const UNWINDER = "libgcc_s.so.1";
const TAKES_FRAMES = { parameters: ["pointer"], result: "void" } as const;

/** Frames that the unwinder knows, until they are disposed. */
export class FrameRegistration implements Disposable {
  readonly #frames: Address;
  readonly #deregister: NativeFunction<typeof TAKES_FRAMES>;

  private constructor(frames: Address, deregister: NativeFunction<typeof TAKES_FRAMES>) {
    this.#frames = frames;
    this.#deregister = deregister;
  }

  /**
   * Registers a list of frames: the contents of `.eh_frame`, and a zero at the end. Undefined where there is no unwinder
   * to tell: nothing but stack traces of C is lost.
   */
  static register(allocator: JitAllocator, frames: Address): FrameRegistration | undefined {
    const [register, deregister] = [find("__register_frame", UNWINDER), find("__deregister_frame", UNWINDER)];
    if (register === undefined || deregister === undefined) return undefined;
    const later = nativeFunction(allocator, deregister, TAKES_FRAMES);
    try {
      using now = nativeFunction(allocator, register, TAKES_FRAMES);
      now.call(frames);
    } catch (error) {
      later[Symbol.dispose]();
      throw error;
    }
    return new FrameRegistration(frames, later);
  }

  [Symbol.dispose](): void {
    this.#deregister.call(this.#frames);
    this.#deregister[Symbol.dispose]();
  }
}
