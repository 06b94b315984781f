/**
 * A mark by which a thread is known, and by which others see that it has ended: without /proc, without signals, and in
 * whatever PID namespace.
 *
 * Each thread locks a *robust* mutex of its own, which it never unlocks. The kernel keeps a list of such mutexes for each
 * thread, and when a thread ends, in whatever way, it sets a bit in each (FUTEX_OWNER_DIED): the last thing that is done of a
 * thread (`exit_robust_list`, kernel/futex; `man 2 get_robust_list`). The mutex is never freed, so its address is no other
 * thread's ever: 64 bytes for each thread that shares an allocator, until the process ends.
 *
 * Others look by `futex`, not by reading: whatever address a damaged handle names, the kernel only says that there is no
 * such memory.
 */
import type { Address, Ffi, NativeFunction, NativeSignature } from "../../ffi/contract.ts";
import { findInAny } from "../../ffi/common.ts";
import { LINUX_LIBC_NAMES } from "../../ffi/libc-names.ts";
import type { ProcessorName } from "../../base/platform.ts";
import type { ThreadIdentity } from "../contract.ts";
import { Errno } from "./errno.ts";

/** `pthread_mutexattr_setrobust`. */
const PTHREAD_MUTEX_ROBUST = 1;
/** More than any C library's `pthread_mutex_t` (glibc 48 bytes, musl 40) and `pthread_mutexattr_t` (4). */
const MUTEX_BYTES = 64;
/** `futex`: wait as long as a word is what is expected; private: of this process alone. */
const FUTEX_WAIT_PRIVATE = 128;
/** The number of `futex`: libc has no function for it. */
const FUTEX_NUMBERS: Readonly<Record<ProcessorName, number | undefined>> = {
  x64: 202,
  arm64: 98,
  other: undefined,
};
/** glibc before 2.34 has these functions in a library of their own. */
const LIBRARIES = [...LINUX_LIBC_NAMES, "libpthread.so.0"];

/** The calls that marks are made of; a function that is missing fails with ENOSYS. */
export interface MarkCalls {
  /** The address of so many bytes that nobody frees; 0 = there are none. */
  malloc(sizeBytes: number): Address;
  /** Initialises a robust mutex and locks it: 0, or an error number. */
  lockRobust(mutex: Address): number;
  /** Reads the words there. */
  read(address: Address, words: Int32Array): void;
  /** Waits for no time at all as long as the word is `expected`: 0 or −1, and then {@link errno}. */
  futexWait(address: Address, expected: number): number;
  gettid(): number;
  errno(): number;
}

/** Binds them through `ffi`. */
export function bindMarkCalls(ffi: Ffi, processor: ProcessorName): MarkCalls {
  const find = (
    symbol: string,
    parameters: NativeSignature["parameters"],
    result: NativeSignature["result"] = "i32",
    fixedParameters?: number,
  ): NativeFunction | undefined => {
    const signature = { parameters, result };
    return findInAny(
      ffi,
      LIBRARIES,
      symbol,
      fixedParameters === undefined ? signature : { ...signature, fixedParameters },
    );
  };
  let isMissing = false;
  const number = FUTEX_NUMBERS[processor];
  // Looked up together, when a thread gets its mark: one that others may terminate has it behind it then.
  const malloc = find("malloc", ["pointer"], "pointer");
  const attributesInit = find("pthread_mutexattr_init", ["buffer"]);
  const setRobust = find("pthread_mutexattr_setrobust", ["buffer", "i32"]);
  const mutexInit = find("pthread_mutex_init", ["pointer", "buffer"]);
  const mutexLock = find("pthread_mutex_lock", ["pointer"]);
  const memcpy = find("memcpy", ["buffer", "pointer", "pointer"], "void");
  const gettid = find("gettid", []);
  const syscall = find("syscall", ["pointer", "pointer", "i32", "i32", "buffer"], "pointer", 1);
  const noTime = new BigInt64Array(2);
  return {
    malloc: (sizeBytes) => Number(malloc?.(sizeBytes) ?? 0),
    lockRobust: (mutex) => {
      const attributes = new Uint8Array(MUTEX_BYTES);
      for (const [call, ...args] of [
        [attributesInit, attributes],
        [setRobust, attributes, PTHREAD_MUTEX_ROBUST],
        [mutexInit, mutex, attributes],
        [mutexLock, mutex],
      ] as const) {
        const status = call === undefined ? Errno.ENOSYS : Number(call(...args));
        if (status !== 0) return status;
      }
      return 0;
    },
    read: (address, words) => void memcpy?.(words, address, words.byteLength),
    futexWait: (address, expected) => {
      isMissing = syscall === undefined || number === undefined;
      return syscall === undefined || number === undefined
        ? -1
        : Number(syscall(number, address, FUTEX_WAIT_PRIVATE, expected, noTime));
    },
    gettid: () => Number(gettid?.() ?? -1),
    errno: () => (isMissing ? Errno.ENOSYS : ffi.errno()),
  };
}

/** The marks of threads, as one of them sees them. */
export class ThreadMarks {
  readonly #bind: () => MarkCalls;
  #calls: MarkCalls | undefined;
  #own: ThreadIdentity | undefined;

  /** @param bind binds the calls, when the first one is made */
  constructor(bind: () => MarkCalls) {
    this.#bind = bind;
  }

  /**
   * The identity of the calling thread, made the first time. Its mark is 0 where there are no robust mutexes (Android);
   * undefined where not even the thread's number can be had.
   */
  current(): ThreadIdentity | undefined {
    if (this.#own !== undefined) return this.#own;
    const calls = this.#all();
    const id = calls.gettid();
    const marked = this.#make(calls, id);
    return (this.#own = marked ?? (id > 0 ? { id, mark: 0 } : undefined));
  }

  /** Whether the thread of a mark still runs; undefined where that cannot be found out. */
  isAlive({ id, mark }: ThreadIdentity): boolean | undefined {
    const calls = this.#all();
    // Equal for no time at all, or equal and interrupted: the thread still holds its mutex.
    if (calls.futexWait(mark, id) === 0) return true;
    const errno = calls.errno();
    if (errno === Errno.ETIMEDOUT || errno === Errno.EINTR) return true;
    return errno === Errno.EAGAIN ? false : undefined;
  }

  #all(): MarkCalls {
    return (this.#calls ??= this.#bind());
  }

  /** @param known the thread's number; not above 0 where the C library has no function that tells */
  #make(calls: MarkCalls, known: number): ThreadIdentity | undefined {
    const mutex = calls.malloc(MUTEX_BYTES);
    if (mutex === 0 || calls.lockRobust(mutex) !== 0) return undefined;
    const words = new Int32Array(2);
    calls.read(mutex, words);
    // The word that the kernel marks has the thread's number now: the first one in glibc, where a count of 1 stands behind
    // it, and the second in musl, where a constant comes before it.
    const [first = 0, second = 0] = words;
    const isSecond = known > 0 ? first !== known : second > 1;
    const id = isSecond ? second : first;
    return id > 0 && (known <= 0 || id === known) ? { id, mark: isSecond ? mutex + 4 : mutex } : undefined;
  }
}
