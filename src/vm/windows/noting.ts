/** Notes results on Windows, by a routine in a page of its own through which functions of kernel32 are called. */
import type { ProcessorName } from "../../base/platform.ts";
import { cString } from "../../ffi/c-string.ts";
import type { Address, Ffi } from "../../ffi/contract.ts";
import type { Noting } from "../noter.ts";
import { bindRoutine, routineCode } from "../routine.ts";
import { KERNEL32_NAMES, Memory, Page } from "./kernel32.ts";
import type { Kernel32 } from "./kernel32.ts";

/** Bytes: the smallest unit of protection. */
const PAGE_BYTES = 4096;

/** Makes and binds the routine that notes results of kernel32. */
export function windowsNoting(ffi: Ffi, processor: ProcessorName): Noting<Kernel32> {
  return {
    make: (kernel32) => {
      const code = routineCode(processor, true);
      return code === undefined ? 0 : makePage(kernel32, code);
    },
    bind: (address) => {
      const library = ffi.open(KERNEL32_NAMES);
      const look = library.find("GetProcAddress", { parameters: ["pointer", "buffer"], result: "pointer" });
      const open = library.find("GetModuleHandleW", { parameters: ["buffer"], result: "pointer" });
      const name = Uint16Array.from("kernel32.dll\0", (letter) => letter.charCodeAt(0));
      const handle = Number(open?.(name) ?? 0);
      return bindRoutine(ffi, address, (symbol) =>
        handle === 0 ? 0 : Number(look?.(handle, cString(symbol)) ?? 0),
      );
    },
  };
}

/**
 * Makes the page of the routine, which stays until the process ends: other threads may be running it. Returns 0 where the
 * system refuses.
 */
function makePage(kernel32: Kernel32, code: Uint8Array): Address {
  const address = kernel32.VirtualAlloc(0, PAGE_BYTES, Memory.RESERVE + Memory.COMMIT, Page.READWRITE);
  if (address === 0) return 0;
  kernel32.moveIn(address, code, code.length);
  const isDone = kernel32.VirtualProtect(address, PAGE_BYTES, Page.EXECUTE_READ, new Uint32Array(1)) !== 0;
  if (isDone && kernel32.FlushInstructionCache(kernel32.GetCurrentProcess(), address, code.length) !== 0)
    return address;
  kernel32.VirtualFree(address, 0, Memory.RELEASE);
  return 0;
}
