/** How results are noted on Linux: by a routine in a page of its own, through which functions of libc are called. */
import type { ProcessorName } from "../../base/platform.ts";
import type { Address, Ffi, NativeFunction } from "../../ffi/contract.ts";
import { LINUX_LIBC_NAMES } from "../../ffi/libc-names.ts";
import type { Noting } from "../noter.ts";
import { bindRoutine, routineCode } from "../routine.ts";
import { MAP_FAILED, MapFlag, Protection } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";

/** Where `dlsym` is in glibc before 2.34. */
const LIBRARIES_WITH_LOADER = [...LINUX_LIBC_NAMES, "libdl.so.2"];

/** `dlsym`: look in all libraries of the process. */
const RTLD_DEFAULT = 0;

/** What notes the results of libc. */
export function linuxNoting(ffi: Ffi, processor: ProcessorName): Noting<LinuxLibc> {
  return {
    make: (libc) => {
      const code = routineCode(processor, false);
      return code === undefined ? 0 : makePage(libc, code);
    },
    bind: (address) => {
      const look = findLoader(ffi);
      return bindRoutine(ffi, address, (symbol) =>
        Number(look?.(RTLD_DEFAULT, new TextEncoder().encode(`${symbol}\0`)) ?? 0),
      );
    },
  };
}

/**
 * A page with the routine, which stays as long as the process: others may be in it. It needs no clearing of caches: it is
 * written before it becomes executable, and the kernel clears them for a page that does. 0 where the system does not let
 * memory become executable that was written before.
 */
function makePage(libc: LinuxLibc, code: Uint8Array): Address {
  const sizeBytes = libc.getpagesize();
  const access = Protection.READ | Protection.WRITE;
  const address = libc.mmap(0, sizeBytes, access, MapFlag.PRIVATE | MapFlag.ANONYMOUS, -1, 0);
  if (address === MAP_FAILED) return 0;
  libc.memcpyIn(address, code, code.length);
  if (libc.mprotect(address, sizeBytes, Protection.READ | Protection.EXEC) === 0) return address;
  libc.munmap(address, sizeBytes);
  return 0;
}

function findLoader(ffi: Ffi): NativeFunction | undefined {
  for (const name of LIBRARIES_WITH_LOADER) {
    try {
      const found = ffi.open([name]).find("dlsym", { parameters: ["pointer", "buffer"], result: "pointer" });
      if (found !== undefined) return found;
    } catch {
      // There is no library of that name.
    }
  }
  return undefined;
}
