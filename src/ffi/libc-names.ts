/** The names of the C library, and the functions that locate its error number. */
import type { SystemName } from "../base/platform.ts";

/** On Linux: glibc, musl (which names it after the processor), and Android's bionic. */
export const LINUX_LIBC_NAMES = [
  "libc.so.6",
  "libc.musl-x86_64.so.1",
  "libc.musl-aarch64.so.1",
  "libc.so",
] as const;

/** The libraries that may have `dlopen` and `dlsym`: glibc before 2.34 has them in libdl. */
export const LINUX_LOADER_NAMES = [...LINUX_LIBC_NAMES, "libdl.so.2"] as const;

/** The functions that return the address of the calling thread's error number, and their libraries. */
export const ERRNO_LOCATIONS: Readonly<
  Record<SystemName, { readonly libraries: readonly string[]; readonly symbols: readonly string[] }>
> = {
  // bionic calls it __errno.
  linux: { libraries: LINUX_LIBC_NAMES, symbols: ["__errno_location", "__errno"] },
  darwin: { libraries: ["libSystem.B.dylib"], symbols: ["__error"] },
  windows: { libraries: ["ucrtbase.dll"], symbols: ["_errno"] },
  other: { libraries: LINUX_LIBC_NAMES, symbols: ["__errno_location", "__error"] },
};
