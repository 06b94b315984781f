/** libc with a journal: while the noter has a journal, each call that maps, unmaps, opens or closes something is noted. */
import { RememberedCString } from "../../ffi/c-string.ts";
import { Call } from "../journal.ts";
import { Noter } from "../noter.ts";
import { MAP_FAILED } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";

const opening = { call: Call.open, failure: -1, isWide: false };

/** The functions that are noted. */
const NOTED = {
  mmap: { call: Call.map, failure: MAP_FAILED, isWide: true },
  munmap: { call: Call.unmap, failure: -1, isWide: false },
  memfd_create: opening,
  shm_open: opening,
  open: opening,
  close: { call: Call.close, failure: -1, isWide: false },
};

/** A {@link LinuxLibc} that notes its calls while its noter has a journal. */
export interface NotedLibc extends LinuxLibc {
  readonly noter: Noter<keyof typeof NOTED>;
}

/** Wraps the functions of libc so that they are noted. */
export function notedLibc(libc: LinuxLibc): NotedLibc {
  const noter = new Noter(NOTED);
  const name = new RememberedCString(); // all memfds of an allocator have the same name
  const open = (
    symbol: "memfd_create" | "shm_open" | "open",
    text: string,
    flags: number,
    mode: number,
    plainly: () => number,
  ): number =>
    noter.call(
      symbol,
      0,
      0,
      (routine, target, result) => routine.callWithBytes(result, target, name.of(text), flags, mode, 0, 0, 0),
      plainly,
    );
  /** For calls that are not noted: the error number is then libc's, not the routine's. */
  const plain = (): LinuxLibc => {
    noter.skip();
    return libc;
  };
  return {
    noter,
    errno: () => noter.lastRoutine?.errno() ?? libc.errno(),
    mmap: (address, sizeBytes, ...rest) =>
      noter.call(
        "mmap",
        0,
        sizeBytes,
        (routine, target, result) => routine.call(result, target, address, sizeBytes, ...rest),
        () => libc.mmap(address, sizeBytes, ...rest),
      ),
    munmap: (address, sizeBytes) =>
      noter.call(
        "munmap",
        address,
        sizeBytes,
        (routine, target, result) => routine.call(result, target, address, sizeBytes, 0, 0, 0, 0),
        () => libc.munmap(address, sizeBytes),
      ),
    memfd_create: (text, flags) => open("memfd_create", text, flags, 0, () => libc.memfd_create(text, flags)),
    shm_open: (text, flags, mode) =>
      open("shm_open", text, flags, mode, () => libc.shm_open(text, flags, mode)),
    open: (text, flags, mode) => open("open", text, flags, mode, () => libc.open(text, flags, mode)),
    close: (descriptor) =>
      noter.call(
        "close",
        descriptor,
        0,
        (routine, target, result) => routine.call(result, target, descriptor, 0, 0, 0, 0, 0),
        () => libc.close(descriptor),
      ),
    getpagesize: () => libc.getpagesize(),
    mprotect: (...args) => plain().mprotect(...args),
    madvise: (...args) => plain().madvise(...args),
    mseal: (...args) => plain().mseal(...args),
    pkey_alloc: (...args) => plain().pkey_alloc(...args),
    pkey_free: (...args) => plain().pkey_free(...args),
    pkey_mprotect: (...args) => plain().pkey_mprotect(...args),
    mincore: (...args) => plain().mincore(...args),
    shm_unlink: (path) => plain().shm_unlink(path),
    unlink: (path) => plain().unlink(path),
    ftruncate: (...args) => plain().ftruncate(...args),
    posix_fallocate: (...args) => plain().posix_fallocate(...args),
    fcntl: (...args) => plain().fcntl(...args),
    prepare: () => {
      libc.prepare();
    },
    memcpyIn: (address, bytes, sizeBytes) => {
      libc.memcpyIn(address, bytes, sizeBytes);
    },
    memcpyOut: (bytes, address, sizeBytes) => {
      libc.memcpyOut(bytes, address, sizeBytes);
    },
    gettid: () => plain().gettid(),
    tgkill: (...args) => plain().tgkill(...args),
    getrlimit: (...args) => plain().getrlimit(...args),
  };
}
