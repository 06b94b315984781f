/**
 * Lets C++ unwind through machine code: exceptions thrown below it reach handlers above it, and `_Unwind_Backtrace` walks on to
 * its callers. The unwinder of GCC's run-time library takes descriptions of frames while the program runs
 * (`__register_frame`).
 *
 * It ends the process when a description is taken back that it does not have, or whose place another one took. So code of
 * shared allocators is left out: other threads may release it, and its address be in use again before this thread knows.
 */
import { JitError } from "../base/errors.ts";
import type { Ffi, NativeFunction } from "../ffi/contract.ts";
import type { VirtualMemory } from "../vm/contract.ts";
import { ByteWriter } from "./byte-writer.ts";
import { appendCallFrames, Pointer } from "./call-frames.ts";
import type { KnownCode } from "./elf-object.ts";
import { NativeSlots, type Slot } from "./native-slots.ts";

/** The library that C++ programs unwind with, on glibc and musl. */
const LIBRARY_NAMES = ["libgcc_s.so.1"];

/** The descriptions that one thread has registered. */
export class Unwinder {
  readonly #slots: NativeSlots;
  readonly #register: NativeFunction;
  readonly #deregister: NativeFunction;
  readonly #out = new ByteWriter();

  /** @throws JitError `ERR_FEATURE_NOT_ENABLED` where there is no such unwinder */
  constructor(ffi: Pick<Ffi, "open">, memory: VirtualMemory) {
    const find = (name: string): NativeFunction => {
      const found = this.#find(ffi, name);
      if (found === undefined) throw refused(`there is no ${name} in ${LIBRARY_NAMES.join(", ")}`);
      return found;
    };
    this.#register = find("__register_frame");
    this.#deregister = find("__deregister_frame");
    this.#slots = new NativeSlots(memory);
  }

  #find(ffi: Pick<Ffi, "open">, name: string): NativeFunction | undefined {
    try {
      return ffi.open(LIBRARY_NAMES).find(name, { parameters: ["pointer"], result: "void" });
    } catch (cause) {
      throw refused(`${LIBRARY_NAMES.join(", ")} cannot be loaded`, cause);
    }
  }

  /** Registers the frame of some code. @throws JitError `ERR_OUT_OF_MEMORY`; nothing is registered then */
  add({ rx, sizeBytes, processor, frames }: KnownCode): Slot {
    const out = this.#out;
    out.clear();
    appendCallFrames(out, { processor, sizeBytes, instructions: frames }, Pointer.absolute, rx);
    const slot = this.#slots.take(out.at);
    this.#slots.write(slot.address, out.bytes);
    this.#register(slot.address);
    return slot;
  }

  /** Takes a description back. */
  remove(slot: Slot): void {
    this.#deregister(slot.address);
    this.#slots.give(slot);
  }
}

function refused(reason: string, cause?: unknown): JitError {
  return new JitError("ERR_FEATURE_NOT_ENABLED", `Cannot announce code to C++: ${reason}`, { cause });
}
