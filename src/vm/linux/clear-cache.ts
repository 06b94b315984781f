/** The routine that makes new code in the data cache visible to instruction fetch. */
import { JitError } from "../../base/errors.ts";
import type { Address, Ffi, NativeFunction, NativeSignature } from "../../ffi/contract.ts";
import { refusedCall } from "../../ffi/guard.ts";
import { systemError } from "./errno.ts";
import type { LinuxLibc } from "./libc.ts";
import { makeRoutinePage } from "./routine-page.ts";

/** A routine that clears the caches for `[start, end)`, of any alignment. */
export interface ClearCache {
  /** Where the routine comes from; `doctor` prints it. */
  readonly origin: string;
  call(start: Address, end: Address): void;
}

const CLEAR_CACHE: NativeSignature = { parameters: ["pointer", "pointer"], result: "void" };

/** `__clear_cache` of the compiler's run-time library, which knows every processor; undefined where it is missing. */
export function clearCacheOfLibgcc(ffi: Ffi): ClearCache | undefined {
  let call: NativeFunction | undefined;
  try {
    call = ffi.open(["libgcc_s.so.1"]).find("__clear_cache", CLEAR_CACHE);
  } catch (error) {
    if (!(error instanceof JitError)) throw error;
  }
  return call === undefined ? undefined : { origin: "__clear_cache of libgcc_s.so.1", call };
}

/**
 * The library's own routine for AArch64, in machine code (x0 = start, x1 = end). The lengths of cache lines are in
 * CTR_EL0, as powers of two of words; its bits IDC and DIC say that the processor needs no cleaning and no invalidating.
 */
const ARM64_CLEAR_CACHE = Uint32Array.of(
  0xd53b0023, //          mrs  x3, ctr_el0
  0x52800088, //          mov  w8, #4           bytes in a word
  0x37e00123, //          tbnz w3, #28, cleaned IDC
  0xd3504c64, //          ubfx x4, x3, #16, #4  DminLine
  0x9ac42104, //          lsl  x4, x8, x4
  0xd1000485, //          sub  x5, x4, #1
  0x8a250006, //          bic  x6, x0, x5
  0xd50b7b26, // clean:   dc   cvau, x6
  0x8b0400c6, //          add  x6, x6, x4
  0xeb0100df, //          cmp  x6, x1
  0x54ffffa3, //          b.lo clean
  0xd5033b9f, // cleaned: dsb  ish
  0x37e80143, //          tbnz w3, #29, done    DIC
  0x92400c64, //          and  x4, x3, #0xf     IminLine
  0x9ac42104, //          lsl  x4, x8, x4
  0xd1000485, //          sub  x5, x4, #1
  0x8a250006, //          bic  x6, x0, x5
  0xd50b7526, // drop:    ic   ivau, x6
  0x8b0400c6, //          add  x6, x6, x4
  0xeb0100df, //          cmp  x6, x1
  0x54ffffa3, //          b.lo drop
  0xd5033b9f, //          dsb  ish
  0xd5033fdf, // done:    isb
  0xd65f03c0, //          ret
);

/**
 * The library's own routine, in a page of its own. Each thread that flushes makes one, since each has its own foreign
 * function interface.
 *
 * @throws JitError where the system does not let written memory become executable
 */
export function ownClearCache(ffi: Pick<Ffi, "callable">, libc: LinuxLibc): ClearCache {
  const address = makeRoutinePage(libc, new Uint8Array(ARM64_CLEAR_CACHE.buffer), noRoutine);
  try {
    const { call } = ffi.callable(address, CLEAR_CACHE);
    return {
      origin: "a routine of this library's own, since there is no libgcc_s.so.1",
      call: (start, end) => {
        try {
          call(start, end);
        } catch (error) {
          throw refusedCall(error);
        }
      },
    };
  } catch (error) {
    libc.munmap(address, libc.getpagesize());
    throw error;
  }
}

function noRoutine(syscall: string, errno: number): JitError {
  return systemError(
    "flush the instruction cache",
    syscall,
    errno,
    "install libgcc (libgcc_s.so.1), which brings a routine for it",
  );
}
