/** Linux's error numbers, and the library's errors for them. */
import { JitError } from "../../base/errors.ts";
import type { JitErrorCode } from "../../base/errors.ts";

/**
 * The error numbers that the calls of {@link LinuxLibc} can leave (include/uapi/asm-generic/errno*.h; the same on
 * every processor that this library knows). Not `os.constants.errno`, which has the numbers of the system the program
 * runs on: the Linux code is tested on other systems too.
 */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ELOOP: 40,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ETIMEDOUT: 110,
  EDQUOT: 122,
} as const;

/** `ENOMEM` for 12; `errno 999` for a number without a name here. */
export function errnoName(errno: number): string {
  return Object.entries(Errno).find(([, known]) => known === errno)?.[0] ?? `errno ${errno}`;
}

const codes: ReadonlyMap<number, JitErrorCode> = new Map<number, JitErrorCode>([
  [Errno.ENOMEM, "ERR_OUT_OF_MEMORY"],
  [Errno.EAGAIN, "ERR_OUT_OF_MEMORY"],
  [Errno.EFBIG, "ERR_OUT_OF_MEMORY"],
  [Errno.ENOSPC, "ERR_OUT_OF_MEMORY"],
  [Errno.EDQUOT, "ERR_OUT_OF_MEMORY"],
  [Errno.EOVERFLOW, "ERR_OUT_OF_MEMORY"],
  [Errno.EACCES, "ERR_PERMISSION"],
  [Errno.EPERM, "ERR_PERMISSION"],
  [Errno.EROFS, "ERR_PERMISSION"],
  [Errno.EMFILE, "ERR_TOO_MANY_HANDLES"],
  [Errno.ENFILE, "ERR_TOO_MANY_HANDLES"],
  [Errno.EINVAL, "ERR_INVALID_ARGUMENT"],
  [Errno.EFAULT, "ERR_INVALID_ARGUMENT"],
]);

/** The library's code for an error number; `ERR_FEATURE_NOT_ENABLED` where there is no better one. */
export function codeOfErrno(errno: number): JitErrorCode {
  return codes.get(errno) ?? "ERR_FEATURE_NOT_ENABLED";
}

/** The most frequent cause of each error number of a memory call, and the way out. */
const wayOut: ReadonlyMap<number, string> = new Map([
  [
    Errno.ENOMEM,
    "the system is out of memory, or the process at its limit of address space (RLIMIT_AS, ulimit -v) or of mappings (vm.max_map_count)",
  ],
  [Errno.EAGAIN, "too much memory is locked (RLIMIT_MEMLOCK, ulimit -l)"],
  [Errno.EMFILE, "this process has too many descriptors open (RLIMIT_NOFILE, ulimit -n)"],
  [Errno.ENFILE, "the system has too many descriptors open (fs.file-max)"],
  [Errno.EACCES, "a security policy forbids it (SELinux, a seccomp filter, or a sealed mapping)"],
  [Errno.EPERM, "a security policy forbids it (mseal, a seccomp filter, or a noexec mount)"],
  [Errno.EINVAL, "the range is not page-aligned, or not one that was mapped so"],
]);

/**
 * The error for a native call that failed.
 *
 * @param asked the request, worded to follow `Cannot`.
 * @param advice the way out, where the caller knows a better one than the error number suggests.
 */
export function systemError(asked: string, syscall: string, errno: number, advice?: string): JitError {
  const why = advice ?? wayOut.get(errno);
  return new JitError(
    codeOfErrno(errno),
    `Cannot ${asked}: ${syscall} failed with ${errnoName(errno)} (${errno})${why === undefined ? "" : `; ${why}`}`,
    { syscall, errno },
  );
}
