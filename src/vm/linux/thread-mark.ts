/**
 * A mark that identifies a thread and lets other threads see that it has ended. It needs neither /proc nor signals, and
 * works in any PID namespace.
 *
 * Each thread locks a *robust* mutex of its own, which it never unlocks. The kernel keeps a list of such mutexes for each
 * thread. When the thread ends, in whatever way, the kernel sets a bit in each (FUTEX_OWNER_DIED), as the last step of
 * the thread's end (`exit_robust_list`, kernel/futex; `man 2 get_robust_list`). The mutex is never freed, so no other
 * thread ever gets its address. That costs 64 bytes for each thread that shares an allocator, until the process ends.
 *
 * Other threads look at the mutex by `futex`, not by reading it: where a damaged handle names an unmapped address, the
 * kernel only says that there is no such memory.
 */
import type { Address, Ffi, NativeFunction, NativeSignature } from "../../ffi/contract.ts";
import { findInAny } from "../../ffi/common.ts";
import { LINUX_LIBC_NAMES } from "../../ffi/libc-names.ts";
import type { ProcessorName } from "../../base/platform.ts";
import type { ThreadIdentity } from "../contract.ts";
import { Errno } from "./errno.ts";

/** `pthread_mutexattr_setrobust`. */
const PTHREAD_MUTEX_ROBUST = 1;
/** Enough for any C library's `pthread_mutex_t` (glibc 48 bytes, musl 40) and `pthread_mutexattr_t` (4). */
const MUTEX_BYTES = 64;
/** `futex`: wait while a word has the expected value; private: within this process alone. */
const FUTEX_WAIT_PRIVATE = 128;
/** The number of `futex`: libc has no function for it. */
const FUTEX_NUMBERS: Readonly<Record<ProcessorName, number | undefined>> = {
  x64: 202,
  arm64: 98,
  other: undefined,
};
/** glibc before 2.34 has these functions in a library of their own. */
const LIBRARIES = [...LINUX_LIBC_NAMES, "libpthread.so.0"];

/**
 * How often a thread is looked at, until two answers in a row are the same. Between a call and the look at its error number
 * the runtime may make calls of its own, which leave theirs: JavaScriptCore reads /proc to see how much memory is used, and
 * where no descriptor is left that is EMFILE.
 */
const MOST_LOOKS = 8;

/** The calls that marks need; a function that is missing fails with ENOSYS. */
export interface MarkCalls {
  /** The address of that many bytes, which nobody frees; 0 = no memory. */
  malloc(sizeBytes: number): Address;
  /** Initialises a robust mutex and locks it: 0, or an error number. */
  lockRobust(mutex: Address): number;
  /** Copies the words at `address` to `words`. */
  read(address: Address, words: Int32Array): void;
  /** Waits, with a timeout of 0, while the word is `expected`. Returns 0, or −1 with {@link errno}. */
  futexWait(address: Address, expected: number): number;
  gettid(): number;
  errno(): number;
}

/** Binds these calls through `ffi`. */
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
  // All are looked up together when a thread gets its mark, so that no look-up comes later, when the thread may be
  // terminated.
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

/** The mark of this thread, and a look at those of others. */
export class ThreadMarks {
  readonly #bind: () => MarkCalls;
  #calls: MarkCalls | undefined;
  #own: ThreadIdentity | undefined;

  /** @param bind binds the calls; called at the first use */
  constructor(bind: () => MarkCalls) {
    this.#bind = bind;
  }

  /**
   * The identity of the calling thread, made on the first call. Its mark is 0 where there are no robust mutexes
   * (Android). Undefined where not even the thread's number is known.
   */
  current(): ThreadIdentity | undefined {
    if (this.#own !== undefined) return this.#own;
    const calls = this.#all();
    const id = calls.gettid();
    const marked = this.#make(calls, id);
    return (this.#own = marked ?? (id > 0 ? { id, mark: 0 } : undefined));
  }

  /** Whether the thread with that mark still runs; undefined where that cannot be found out. */
  isAlive({ id, mark }: ThreadIdentity): boolean | undefined {
    const calls = this.#all();
    let answer: boolean | undefined;
    for (let look = 0; look < MOST_LOOKS; look++) {
      if (calls.futexWait(mark, id) === 0) return true;
      const before = answer;
      answer = meaningOf(calls.errno());
      if (answer !== undefined && answer === before) return answer;
    }
    return undefined;
  }

  #all(): MarkCalls {
    return (this.#calls ??= this.#bind());
  }

  /** @param known the thread's number; 0 or less where the C library has no function for it */
  #make(calls: MarkCalls, known: number): ThreadIdentity | undefined {
    const mutex = calls.malloc(MUTEX_BYTES);
    if (mutex === 0 || calls.lockRobust(mutex) !== 0) return undefined;
    const words = new Int32Array(2);
    calls.read(mutex, words);
    // The word that the kernel marks now has the thread's number. In glibc it is the first word, and a count of 1 follows
    // it; in musl it is the second, after a constant.
    const [first = 0, second = 0] = words;
    const isSecond = known > 0 ? first !== known : second > 1;
    const id = isSecond ? second : first;
    return id > 0 && (known <= 0 || id === known) ? { id, mark: isSecond ? mutex + 4 : mutex } : undefined;
  }
}

/** What the error number of a vain wait says: whether the thread lives; undefined where it says nothing. */
function meaningOf(errno: number): boolean | undefined {
  // The word had the expected value (the wait timed out or was interrupted): the thread still holds its mutex.
  if (errno === Errno.ETIMEDOUT || errno === Errno.EINTR) return true;
  return errno === Errno.EAGAIN ? false : undefined;
}
