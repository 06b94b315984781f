/**
 * Where everything lives in the shared buffer.
 *
 * All state of an allocator is one SharedArrayBuffer, read as 32-bit integers (`words`) and, where a machine
 * address or a count of bytes is kept, as doubles (`doubles`) over the same bytes. An *index* below is an index
 * into `words`; index 0 is the magic number, so 0 can stand for "none" everywhere.
 *
 * ```
 * ┌ header ┬ look-up ┬ bins ┬ pool 0 ┬ pool 1 ┬ pool 2 ┬ units … ──────────────────────────┐
 * │ 32     │ 1024    │ 128  │ 868    │  (only as many   │ chunks of 64-integer units: the  │
 * │        │         │      │        │   as there are)  │ owner table, blocks, generations │
 * └────────┴─────────┴──────┴────────┴──────────────────┴──────────────────────────────────┘
 * ```
 *
 * A block's chunk:
 * ```
 * ┌ header ┬ dirty ┬ dirty summary ┬ full ┬ full summary ┬ guard ┬ record 0 … record n-1 ┬ guard ┐
 * │ 32     │ a bit a word of granules, a bit a word of those     │ 4 integers each       │       │
 * └────────┴───────┴───────────────┴──────┴──────────────┴───────┴───────────────────────┴───────┘
 * ```
 *
 * A record describes 32 granules (2 KiB of code at 64 bytes a granule), and is all that one operation needs:
 * ```
 * +0 free   bit g: granule g was allocated and is free again
 * +1 stop   bit g: granule g is the last of its allocation (or of the padding)
 * +2 next   the ring of records whose longest free run is of the same class: 25 bits the next record's number,
 *           7 bits the class; 0 = in no ring
 * +3 prev   the index of the record before it in the ring
 * ```
 *
 * asmjit's `used` is the complement of `free` below the tail. Turned round, the untouched tail of a block is zeros:
 * an allocation at its end sets one stop bit, and no scan for free granules ever has to be told where the tail begins.
 *
 * All of this is `const enum`, which the compiler replaces by its number: an engine loads and checks an imported
 * constant each time it is used, and an operation uses dozens.
 */

export const enum Format {
  /** "JITA" in ASCII: tells an allocator's buffer from any other. */
  magic = 0x4a495441,
  /** Counts up whenever the meaning of a field changes. */
  version = 1,
  /**
   * The highest index the buffer may reach: a record's number, a quarter of its index, must fit 25 bits, and a place
   * (a granule's number over the whole buffer, 8 times the index of its record) a signed 32-bit integer.
   * 2**27 integers are 512 MiB of metadata, enough for 60 GiB of code without spans.
   */
  maxIntegers = 2 ** 27,
}

/** How many integers the fixed things take. */
export const enum Size {
  header = 32,
  record = 4,
  block = 32,
  /** Pool.recentPlaces, and the places themselves. */
  pool = 604 + 33 * 8,
}

/** The header, at index 0. */
export const enum Header {
  magic = 0,
  version = 1,
  /** log2 of the base granularity in bytes: 6, 7 or 8. */
  granuleShift = 2,
  /** 1 or 3. */
  poolCount = 3,
  /** 1 where each block begins with a granule of padding, else 0. */
  padding = 4,
  /** 1 where a block goes as soon as it is empty, else 0. */
  immediateRelease = 5,
  /** How many blocks are mapped. */
  blockCount = 6,
  /** The root of the tree of blocks, 0 = empty. */
  treeRoot = 7,
  /**
   * Always 0: where the look-up or a pool names no block, it names index 0, which then has no room for anything and no
   * granule in use. The hot paths need no other test.
   */
  noCapacity = 8,
  noTail = 9,
  /** The generation given last; generations are never 0. */
  generation = 10,
  /** The index of the owner table, and how many units it can describe. */
  owners = 11,
  ownersCapacity = 12,
  /** How many units are laid out, in use or free. */
  unitCount = 13,
  /** log2 of the bytes of a frame of the look-up. */
  frameShift = 14,
  /** Bytes, as doubles: all blocks together; the most they may be; the base block size. */
  reservedSize = 16 >> 1,
  maxReservedSize = 18 >> 1,
  blockSize = 20 >> 1,
}

/**
 * Blocks by address: an entry for each frame of addresses, modulo 1024, names a block that lies there, or 0. These
 * 4 KiB stay in the first-level cache. A frame is as small as will do: where several blocks lie in one, all but one of
 * them are looked up in the tree.
 */
export const enum Lookup {
  start = Size.header,
  entries = 1024,
  /** log2 of the smallest frame, 64 KiB: the smallest block there is. */
  leastShift = 16,
}

/** A record. */
export const enum Word {
  free = 0,
  stop = 1,
  next = 2,
  prev = 3,
}

/** What `Word.next` holds beside the next record. */
export const enum Listed {
  classBits = 7,
  classMask = (1 << classBits) - 1,
}

/** The links of the nodes of all other rings: blocks, dirty blocks and free chunks. */
export const enum Link {
  next = 2,
  prev = 3,
}

/** Free chunks are kept in rings by the power of two of their length in units. */
export const enum Bins {
  start = Lookup.start + Lookup.entries,
  count = 32,
}

/**
 * A unit is 256 bytes: small enough that the chunk of a 64 KiB block wastes little, large enough that the owner
 * table (4 bytes a unit) is 1.6 % of what it describes.
 */
export const enum Unit {
  shift = 6,
  integers = 1 << shift,
}

export const enum Pools {
  start = Bins.start + Bins.count * Size.record,
}

export const enum Classes {
  count = 128,
}

/**
 * The runs released last, by length: what a program that frees and allocates the same sizes is served from, without
 * the index ever having looked at them. Up to 32 granules (2 KiB of code at 64 bytes), most of what compilers free;
 * 8 of each length serve a burst of releases. More of both makes the recorded HotSpot trace need more memory, since
 * a run that waits here is not joined with its neighbours. An entry is a place, and only a hint: whoever takes it
 * checks it.
 */
export const enum Recent {
  longest = 32,
  runsShift = 3,
  runs = 1 << runsShift,
  /**
   * Released runs that found no room among those wait here, in the order they came, until an allocation wants a hole:
   * as many as a program releases between two allocations, but for those that release everything.
   */
  waiting = 32,
}

export const enum Pool {
  /** The block whose untouched tail is in use, 0 = none. */
  current = 0,
  /** The one empty block that is kept, 0 = none. */
  empty = 1,
  /** Bit g: one of the four words of class bits is not 0, number g. */
  classSummary = 2,
  /** Bit n-1: there are recent runs of length n. */
  recentBits = 3,
  /** How many runs wait for the index; never 0 while a block has dirty words. */
  waitingCount = 4,
  /** log2 of this pool's granularity in bytes. */
  granuleShift = 5,
  /** Four words: bit c of them = the ring of class c is not empty. */
  classBits = 8,
  /** The sentinel of the ring of the pool's blocks, oldest first. */
  blocks = 12,
  /** The sentinel of the ring of blocks that have dirty words. */
  dirtyBlocks = 16,
  /** A sentinel each: one ring a class. */
  classes = 20,
  /** How many recent runs there are of length n, at `+ n`. */
  recentCounts = classes + Classes.count * Size.record,
  /** The places of the runs that wait for the index. */
  waitingPlaces = recentCounts + Recent.longest + 4,
  /** Their places, at `+ n * Recent.runs`. */
  recentPlaces = waitingPlaces + Recent.waiting + 4,
}

export const enum Block {
  /** As doubles, at `(block >> 1) + …`: the addresses of the two views and the length in bytes. */
  rx = 0,
  rw = 1,
  size = 2,
  /** log2 of the granule's size in bytes. */
  granuleShift = 6,
  /** The index of record 0. */
  records = 7,
  /** Granules. */
  capacity = 8,
  /** From this granule on nothing was ever allocated since the block was last empty. */
  tail = 9,
  /** Granules in use, the padding among them. */
  used = 10,
  /** Live allocations. */
  live = 11,
  /** The index of its pool. */
  pool = 12,
  /** 1 where granule 0 is padding. */
  padding = 13,
  /**
   * The index of the generations, an integer a granule; 0 = no Span was made in this block yet. At the first granule
   * of an allocation that a Span was made for stands its generation, which is negative; at the second its length.
   */
  generations = 14,
  /** The lower 32 bits of rx: the offset of an address is a difference of integers. */
  rxLow = 15,
  left = 16,
  right = 17,
  parent = 18,
  /** 1 = red, 0 = black. */
  red = 19,
  dirtySummary = 20,
  full = 21,
  fullSummary = 22,
  /** A number below the count of blocks, or not far above it, that no other block has. */
  number = 23,
  /** Ring nodes: the pool's blocks, and the pool's blocks with dirty words. */
  inPool = 24,
  inDirty = 28,
  /** The dirty bits begin right behind the header. */
  dirty = Size.block,
}
