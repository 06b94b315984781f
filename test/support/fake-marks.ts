import { Errno } from "../../src/vm/linux/errno.ts";
import { ThreadMarks, type MarkCalls } from "../../src/vm/linux/thread-mark.ts";

/** How the C library of the fake machine is. */
export interface MarkMachine {
  /** Which of the two words of a mutex the kernel marks: the first in glibc, the second in musl. */
  readonly word?: 0 | 1;
  /** What locking a robust mutex leaves: 0, or an error number. */
  readonly lockStatus?: number;
  readonly hasGettid?: boolean;
  readonly hasFutex?: boolean;
  readonly hasMalloc?: boolean;
  /** The error numbers that calls of the runtime's own leave, one after the other, before the look at a wait's. */
  readonly others?: number[];
}

/** FUTEX_OWNER_DIED. */
const OWNER_DIED = 0x4000_0000;

/** The robust mutexes of the threads of one process. */
export class FakeMarks {
  readonly #machine: MarkMachine;
  readonly #words = new Map<number, number>();
  #end = 0x1000;

  constructor(machine: MarkMachine = {}) {
    this.#machine = machine;
  }

  /** The marks as a thread with that number sees them. */
  threadWith(id: number): ThreadMarks {
    return new ThreadMarks(() => this.calls(id));
  }

  /** What the kernel does when a thread has ended. */
  end(id: number): void {
    for (const [address, value] of this.#words) if (value === id) this.#words.set(address, OWNER_DIED);
  }

  calls(id: number): MarkCalls {
    const {
      word = 0,
      lockStatus = 0,
      hasGettid = true,
      hasFutex = true,
      hasMalloc = true,
      others = [],
    } = this.#machine;
    let errno = 0;
    return {
      malloc: (sizeBytes) => {
        if (!hasMalloc) return 0;
        this.#end += sizeBytes;
        return this.#end - sizeBytes;
      },
      lockRobust: (mutex) => {
        if (lockStatus !== 0) return lockStatus;
        // glibc: the lock, and how often it is held; musl: the type, and the lock.
        this.#words.set(mutex, word === 0 ? id : 4).set(mutex + 4, word === 0 ? 1 : id);
        return 0;
      },
      read: (address, words) => {
        for (const index of words.keys()) words[index] = this.#words.get(address + 4 * index) ?? 0;
      },
      futexWait: (address, expected) => {
        const value = this.#words.get(address);
        errno = !hasFutex
          ? Errno.ENOSYS
          : value === undefined
            ? Errno.EFAULT
            : value === expected
              ? Errno.ETIMEDOUT
              : Errno.EAGAIN;
        return -1;
      },
      gettid: () => (hasGettid ? id : -1),
      errno: () => others.shift() ?? errno,
    };
  }
}
