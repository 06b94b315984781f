/**
 * The barrier on all cores. Where a processor does not keep its instruction cache coherent, clearing the caches is not
 * enough: a core that runs another thread may already have fetched the old code, and goes on with it until it
 * synchronises its context. Only the kernel can make it do so, by membarrier (Linux 4.16).
 */
import type { ProcessorName } from "../../base/platform.ts";
import type { Ffi, NativeFunction } from "../../ffi/contract.ts";
import { Errno, systemError } from "./errno.ts";
import { LINUX_LIBC_NAMES } from "../../ffi/libc-names.ts";

/** `membarrier` commands (include/uapi/linux/membarrier.h). A process registers once, for all of its threads. */
export const Membarrier = {
  /** From Linux 4.3 on; takes milliseconds. */
  GLOBAL: 0x01,
  /** From Linux 4.14 on. */
  PRIVATE_EXPEDITED: 0x08,
  REGISTER_PRIVATE_EXPEDITED: 0x10,
  PRIVATE_EXPEDITED_SYNC_CORE: 0x20,
  REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: 0x40,
} as const;

/** The number of the call (include/uapi/asm-generic/unistd.h, arch/x86/entry/syscalls): libc has no function for it. */
const MEMBARRIER: Readonly<Record<ProcessorName, number | undefined>> = {
  x64: 324,
  arm64: 283,
  other: undefined,
};

/** `membarrier` and the error number it leaves; −1 = it failed. */
export interface MembarrierCall {
  call(command: number): number;
  errno(): number;
}

/** Binds `membarrier` through libc's `syscall`, which is looked up when it is first called. */
export function bindMembarrier(ffi: Ffi, processor: ProcessorName): MembarrierCall {
  const number = MEMBARRIER[processor];
  let syscall: NativeFunction | undefined;
  let isMissing = false;
  return {
    call: (command) => {
      syscall ??= ffi.open(LINUX_LIBC_NAMES).find("syscall", {
        // The number and the result are of C's type long; `pointer` has the same width.
        parameters: ["pointer", "i32", "u32", "i32"],
        result: "pointer",
        fixedParameters: 1,
      });
      isMissing = syscall === undefined || number === undefined;
      return syscall === undefined || number === undefined ? -1 : (syscall(number, command, 0, 0) as number);
    },
    errno: () => (isMissing ? Errno.ENOSYS : ffi.errno()),
  };
}

/** Makes every core that runs a thread of this process drop the code it has fetched. */
export class CoreBarrier {
  readonly #membarrier: MembarrierCall;
  /** The error number of the registration: 0 = done. */
  #registrationErrno: number | undefined;

  constructor(membarrier: MembarrierCall) {
    this.#membarrier = membarrier;
  }

  /** Registers the process on the first call. Returns 0, or the error number where the kernel does not offer the barrier. */
  register(): number {
    return (this.#registrationErrno ??=
      this.#membarrier.call(Membarrier.REGISTER_PRIVATE_EXPEDITED_SYNC_CORE) === 0
        ? 0
        : this.#membarrier.errno());
  }

  /**
   * When this returns, no core runs code that it fetched before the call. Where the kernel does not offer the barrier,
   * nothing is done: the calling thread needs none, and `doctor` says what that means for the others.
   *
   * @throws JitError where the kernel offers the barrier and the call still fails
   */
  raise(): void {
    if (this.register() !== 0) return;
    if (this.#membarrier.call(Membarrier.PRIVATE_EXPEDITED_SYNC_CORE) !== 0) {
      throw systemError("make new code known to all cores", "membarrier", this.#membarrier.errno());
    }
  }
}
