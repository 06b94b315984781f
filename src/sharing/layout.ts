/**
 * The layout of the state: the buffer by which the threads of a shared allocator coordinate. It is separate from the
 * core's buffer: an allocator that nobody shares has no state, and the core's layout knows nothing of threads.
 *
 * It is read as 32-bit integers (`words`), as doubles over the same bytes (`doubles`), and the owners as 16-bit integers.
 * ```
 * ┌ fields ┬ journal ┬ members: 4 each ┬ given: 1 each ┬ batches: an owner each ┬ inside: 16 each ┬ limbo: 3 each ┬ blocks: 12 each ┐
 * └────────┴─────────┴─────────────────┴───────────────┴────────────────────────┴─────────────────┴───────────────┴─────────────────┘
 * ```
 * Pages that are never touched are never committed: the system commits the pages of such a buffer one by one. That is so
 * because the buffer is made growable, although it never grows (shared-state.ts).
 */

export const enum Format {
  /** "JITS" in ASCII: tells this buffer from any other. */
  magic = 0x4a495453,
  /** Counts up whenever the meaning of a field changes. */
  version = 8,
}

export const enum Field {
  magic = 0,
  version = 1,
  /**
   * Changes when what a thread keeps for itself may be stale: a block went, the core's buffer grew, or a repair was done.
   */
  epoch = 2,
  /** 1 from the beginning of an operation to its end. A thread that takes the lock and finds a 1 repairs first. */
  isTorn = 3,
  /** The operation on all blocks that is under way, an {@link Intent}. */
  intent = 4,
  isDisposed = 5,
  /**
   * The batch of generations that is handed out next, modulo the number of batches; not below that number once all were
   * given.
   */
  nextBatch = 6,
  /** The serial of the block that is entered next. */
  nextSerial = 7,
  /** How many entries of the register were ever in use. */
  entryCount = 8,
  /** How often a repair was done. */
  repairs = 9,
  /** The seal, which the parts of one handle have in common. */
  seal = 10,
  /** The number of integers in the buffer: tells the buffer from a copy of a part of it. */
  integers = 11,
  /** The member number that was last given to another thread. The next thread that needs one searches after it first. */
  lastNumber = 12,
  /** Counts the threads that the system cannot identify. */
  unnamedThreads = 13,
  /** The batch of the module that an operation is working on, with 1 added; 0 = none (modules.ts). */
  module = 14,
  /** 1 = a hard reset waits until limbo is empty: then the blocks that nobody uses go (limbo.ts). */
  isEmptying = 15,
  /**
   * The lock has a cache line of its own, because waiting threads read it again and again. Three integers follow it. The
   * first counts acquisitions: by it waiting threads tell a lock that changes hands from one that is never let go. On the
   * other two they sleep (lock.ts).
   */
  lock = 16,
  /** The range of all blocks, as three doubles: the addresses of its two views, and its size in bytes. */
  range = 20,
  /** A checksum of the range; 0 = there is none. */
  rangeCheck = 26,
  /** 1 = the system's policy allows no range: blocks are mapped one by one. */
  isRangeRefused = 27,
  /** 1 = parts of the range that are no block's may have memory, or access. */
  isRangeUnclean = 28,
  /** 1 = pages of free memory were given back, which read as zero since. */
  isRangeTrimmed = 29,
  /** What is sealed of the range, and what is about to be: bytes, as doubles, with a checksum as their fraction. */
  sealed = 30,
  sealing = 32,
  /** As a double: the lowest address that was ever data's in the range; 0 = none was. */
  dataStart = 34,
  /** 1 = who enters machine code orders its own stores: the system has no barrier for those of all threads (inside.ts). */
  isFencing = 36,
  /** The highest number of a member that has ever entered machine code; 0 = none has. */
  lastCaller = 37,
  /** The queue of limbo: its first entry, how many it has, and how many of these, at its end, have no era yet (limbo.ts). */
  limboHead = 38,
  limboCount = 39,
  limboNew = 40,
  /** How many allocations wait in limbo without an entry in the queue, which was full. */
  limboBeyond = 41,
  /** As a double: the bytes of all allocations in limbo. */
  limboBytes = 42,
  /** As doubles: the most bytes that were seen in use, and reserved. */
  peakUsed = 44,
  peakReserved = 46,
  /** The era, on a cache line of its own: who enters machine code reads it, and it seldom changes (inside.ts). Never 0. */
  era = 48,
  count = 64,
}

/** The values of `Field.intent`. A repair finishes the operation. */
export const enum Intent {
  none = 0,
  resetSoft = 1,
  resetHard = 2,
  dispose = 3,
}

/**
 * The journal: what is mapped and not registered, and the call of the system that is being made (vm/journal.ts has the
 * fields). It has room for eight ranges; a thread holds two at a time, or four while a new block takes the place of
 * another.
 */
export const enum Journal {
  start = Field.count,
  integers = 120,
}

/** The threads that have attached. Number 0 is no thread's, so that 0 in the lock means free. */
export const enum Members {
  start = Journal.start + Journal.integers,
  /** Ten bits. A number is given to another thread only when all were given once and its own thread is over. */
  count = 1024,
  integers = 4,
  /** The native thread id; 0 = this number was never given; below 0 = the negated id of a thread that is claiming it. */
  id = 0,
  /** 1 = the thread has left (`detach`). */
  hasLeft = 1,
  /** The thread's mark (`ThreadIdentity.mark`), as a double at `(member >> 1) + …`; 0 = not known. */
  mark = 1,
}

/**
 * For each member, the generation that it gave last or is about to give; 0 = none. It is written before the generation is
 * given, so that the next thread with this member number never gives it again.
 */
export const enum Given {
  start = Members.start + Members.count * Members.integers,
}

/**
 * The owners of batches. Generations are handed to threads in batches, so a generation tells who allocated: an allocation
 * carries its owner at no cost.
 */
export const enum Batches {
  start = Given.start + Members.count,
  /** A batch has 4,096 generations: a thread reads the shared counter once in as many allocations. */
  shift = 12,
  /** Added to the owner of a batch: its allocations are of a module that is not committed, or is on its way out. */
  pending = 0x8000,
  /** The number of batches of 2**31 generations. */
  count = 2 ** (31 - shift),
  integers = count >> 1,
}

/** For each member: whether it is inside machine code, and since when. Each has a cache line of its own, which it writes often. */
export const enum Inside {
  start = (Batches.start + Batches.integers + 15) & ~15,
  integers = 16,
  /** The era in which the member entered; 0 = it is outside. Written by that member alone, without the lock. */
  era = 0,
  /** 1 = it has entered at least once. */
  isCaller = 1,
}

/** The queue of allocations that were retired: places, in the order in which they were. */
export const enum Limbo {
  start = Inside.start + Members.count * Inside.integers,
  integers = 3,
  block = 0,
  granule = 1,
  /** The era up to which a thread that has entered may be running it; 0 = not known yet. */
  era = 2,
  /** Few programs have so many waiting. The rest is found in the ledgers, which takes longer. */
  capacity = 4096,
}

/** The register of blocks: the one place that is right about the blocks at every instant. */
export const enum Entry {
  start = Limbo.start + Limbo.capacity * Limbo.integers,
  integers = 12,
  /** Below 0 = its block is being unmapped. */
  serial = 0,
  pool = 1,
  /** The block's index in the core, and the index of its generations. */
  block = 2,
  generations = 3,
  /** As doubles, at `(entry >> 1) + …`. */
  rx = 2,
  rw = 3,
  size = 4,
  /**
   * A checksum, 32 bits, of the other fields, because the memory that an entry names is written to and unmapped. It is
   * written last when a block is entered. One other value means that the entry is free. Any third value was not written
   * by this library.
   */
  check = 10,
}
