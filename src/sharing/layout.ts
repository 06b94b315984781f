/**
 * Where everything lives in the buffer that coordinates the threads of a shared allocator. It is a buffer of its own,
 * beside the core's: an allocator that nobody shares has none, and the core's layout knows nothing of threads.
 *
 * Read as 32-bit integers (`words`), as doubles over the same bytes (`doubles`), and the owners as 16-bit integers.
 * ```
 * ┌ fields ┬ journal ┬ members: 4 integers each ┬ given: 1 each ┬ batches: an owner each ┬ blocks: 12 integers each ┐
 * └────────┴─────────┴──────────────────────────┴───────────────┴────────────────────────┴──────────────────────────┘
 * ```
 * What is never touched is never committed: the system gives such a buffer its pages one by one. That holds because the
 * buffer is made as one that may grow, although it never does (shared-state.ts).
 */

export const enum Format {
  /** "JITS" in ASCII: tells this buffer from any other. */
  magic = 0x4a495453,
  /** Counts up whenever the meaning of a field changes. */
  version = 3,
}

export const enum Field {
  magic = 0,
  version = 1,
  /** Changes whenever what a thread keeps of its own may be stale: a block went, the core's buffer grew, a repair. */
  epoch = 2,
  /** 1 from the beginning of an operation to its end: whoever finds it, with the lock in hand, repairs first. */
  isTorn = 3,
  /** What is being done to all blocks at once, an {@link Intent}. */
  intent = 4,
  isDisposed = 5,
  /** The batch of generations that is handed out next, modulo all batches; not below their number once all were given. */
  nextBatch = 6,
  /** The serial of the block that is entered next. */
  nextSerial = 7,
  /** How many entries of the register were ever in use. */
  entryCount = 8,
  /** How often a repair was done. */
  repairs = 9,
  /** What the parts of a handle have in common. */
  seal = 10,
  /** How many integers the buffer has: tells it from a copy of a part of it. */
  integers = 11,
  /** The number of a member that was given again last: the next thread that needs one looks behind it first. */
  lastNumber = 12,
  /** Counts threads that the system does not tell from others. */
  unnamedThreads = 13,
  /**
   * The lock has a cache line of its own: waiting threads look at it again and again. Of the three integers behind it the first
   * counts acquisitions, by which the waiting tell a holder that is slow from one that will never let go; the others are what
   * they sleep on (lock.ts).
   */
  lock = 16,
  count = 32,
}

/** What `Field.intent` says: whoever repairs finishes it. */
export const enum Intent {
  none = 0,
  resetSoft = 1,
  resetHard = 2,
  dispose = 3,
}

/**
 * What is mapped and not registered, and the call of the system that is being made: vm/journal.ts has the fields. There is
 * room for eight ranges; a thread holds two at a time, or four while a new block takes the place of another.
 */
export const enum Journal {
  start = Field.count,
  integers = 120,
}

/** The threads that have attached. Number 0 is nobody, so that 0 in the lock is free. */
export const enum Members {
  start = Journal.start + Journal.integers,
  /** Ten bits. A number is given to another thread only when all were given once, and its thread is over. */
  count = 1024,
  integers = 4,
  /** The native thread id; 0 = this number was never given; negated while a thread claims one that another had. */
  id = 0,
  /** 1 where the thread has said that it is done. */
  hasLeft = 1,
  /** As a double, at `(member >> 1) + …`: what no other thread has together with this id; 0 = not known. */
  mark = 1,
}

/**
 * By member, the generation that it gave last, or is about to give; 0 = none. It is written before the generation is
 * given, so that whoever has the number next never gives it again.
 */
export const enum Given {
  start = Members.start + Members.count * Members.integers,
}

/**
 * A generation tells who allocated: generations are handed to threads in batches, and each batch has an owner. So an
 * allocation carries its owner at no cost.
 */
export const enum Batches {
  start = Given.start + Members.count,
  /** 4,096 generations: one look at the shared counter in as many allocations. */
  shift = 12,
  /** All batches of 2**31 generations. */
  count = 2 ** (31 - shift),
  integers = count >> 1,
}

/** The register of blocks: the one place that is right about them at every instant. */
export const enum Entry {
  start = Batches.start + Batches.integers,
  integers = 12,
  /** Below 0 = its block is being unmapped. */
  serial = 0,
  pool = 1,
  /** Its index in the core, and that of its generations. */
  block = 2,
  generations = 3,
  /** As doubles, at `(entry >> 1) + …`. */
  rx = 2,
  rw = 3,
  size = 4,
  /**
   * 32 bits of all the others: whoever believes an entry writes to and unmaps what it names. Written last when a block is
   * entered; another value says that the entry is free. Any third one was written by nobody of this library.
   */
  check = 10,
}
