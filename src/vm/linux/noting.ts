/** Notes results on Linux, by a routine in a page of its own through which functions of libc are called. */
import type { ProcessorName } from "../../base/platform.ts";
import { cString } from "../../ffi/c-string.ts";
import { findInAny } from "../../ffi/common.ts";
import type { Ffi } from "../../ffi/contract.ts";
import { LINUX_LOADER_NAMES } from "../../ffi/libc-names.ts";
import { attempt } from "../attempts.ts";
import type { Noting } from "../noter.ts";
import { bindRoutine, routineCode } from "../routine.ts";
import { systemError } from "./errno.ts";
import type { LinuxLibc } from "./libc.ts";
import { makeRoutinePage } from "./routine-page.ts";

/** `dlsym`: look in all libraries of the process. */
const RTLD_DEFAULT = 0;

/** Makes and binds the routine that notes results of libc. */
export function linuxNoting(ffi: Ffi, processor: ProcessorName): Noting<LinuxLibc> {
  return {
    make: (libc) => {
      const code = routineCode(processor, false);
      if (code === undefined) return 0;
      const page = attempt(() =>
        makeRoutinePage(libc, code, (syscall, errno) =>
          systemError("make a page for the routine that notes results", syscall, errno),
        ),
      );
      return page ?? 0;
    },
    bind: (address) => {
      const look = findInAny(ffi, LINUX_LOADER_NAMES, "dlsym", {
        parameters: ["pointer", "buffer"],
        result: "pointer",
      });
      return bindRoutine(ffi, address, (symbol) => Number(look?.(RTLD_DEFAULT, cString(symbol)) ?? 0));
    },
  };
}
