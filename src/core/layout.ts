/**
 * The layout of the shared buffer.
 *
 * All state of an allocator is one SharedArrayBuffer. It is read as 32-bit integers (`words`) and, for machine addresses
 * and counts of bytes, as doubles (`doubles`) over the same bytes. An *index* below is an index into `words`; index 0 is
 * the magic number, so 0 can stand for "none" everywhere.
 *
 * ```
 * ┌ header ┬ look-up ┬ bins ┬ pool 0 ┬ pool 1 ┬ pool 2 … ┬ units … ────────────────────────────┐
 * │ 32     │ 1024    │ 128  │ 148    │  one of each kind, │ chunks of 64-integer units: the    │
 * │        │         │      │        │  or three of each  │ owner table, blocks, generations   │
 * │        │         │      │        │                    │ and the lists of free runs         │
 * └────────┴─────────┴──────┴────────┴────────────────────┴────────────────────────────────────┘
 * ```
 *
 * A block's chunk:
 * ```
 * ┌ header ┬ dirty ┬ dirty summary ┬ full ┬ full summary ┬ guard ┬ record 0 … record n-1 ┬ guard ┬ spare ┐
 * │ 32     │ a bit a word of granules, a bit a word of those     │ 2 integers each                       │
 * └────────┴───────┴───────────────┴──────┴──────────────┴───────┴───────────────────────┴───────┴───────┘
 * ```
 *
 * A record describes 32 granules (2 KiB of code at 64 bytes a granule):
 * ```
 * +0 free   bit g: granule g was allocated and is free again
 * +1 stop   bit g: granule g is the last of its allocation (or of the padding)
 * ```
 * Records lie side by side, so any 32 consecutive granules are read off two neighbouring records (bits.ts).
 *
 * asmjit's `used` is the complement of `free` below the tail. With `free`, the untouched tail of a block is zeros: an
 * allocation at its end sets one stop bit, and a scan for free granules need not know where the tail begins.
 *
 * All constants are `const enum`, which the compiler replaces by numbers: an engine loads and checks an imported constant
 * at each use, and an operation uses dozens.
 */

export const enum Format {
  /** "JITA" in ASCII: tells an allocator's buffer from any other. */
  magic = 0x4a495441,
  /** Counts up whenever the meaning of a field changes. */
  version = 7,
  /**
   * The highest index the buffer may reach: a place (a granule's number over the whole buffer, 16 times the index of
   * its record) must fit a signed 32-bit integer.
   * 2**27 integers are 512 MiB of metadata, enough for 100 GiB of code without spans.
   */
  maxIntegers = 2 ** 27,
}

/** Sizes of the fixed parts, in integers. */
export const enum Size {
  header = 32,
  record = 2,
  /** A node of a ring, or its sentinel. */
  node = 4,
  block = 32,
  /** The fields up to Pool.classTops, and the 128 tops themselves. */
  pool = 20 + 128,
}

/** The header, at index 0. */
export const enum Header {
  magic = 0,
  version = 1,
  /** log2 of the base granularity in bytes: 6, 7 or 8. */
  granuleShift = 2,
  /** Three times `poolsPerKind`, and one more where there is a reserve. */
  poolCount = 3,
  /** 1 where each block begins with a granule of padding, else 0. */
  padding = 4,
  /** 1 where a block is unmapped as soon as it is empty, else 0. */
  immediateRelease = 5,
  /** How many blocks are mapped. */
  blockCount = 6,
  /** The root of the tree of blocks, 0 = empty. */
  treeRoot = 7,
  /**
   * Always 0. Where the look-up or a pool names no block, it names index 0, which these fields make a block without room
   * and without granules in use. So the hot paths need no other test.
   */
  noCapacity = 8,
  noTail = 9,
  /** The generation given last; generations are never 0. */
  generation = 10,
  /** The index of the owner table, and the number of units that it can describe. */
  owners = 11,
  ownersCapacity = 12,
  /** The number of units that are laid out, in use or free. */
  unitCount = 13,
  /** log2 of the bytes of a frame of the look-up. */
  frameShift = 14,
  /** The mark given last (generations.ts). */
  mark = 15,
  /** Bytes, as doubles: all blocks together; the most they may be; the base block size. */
  reservedSize = 16 >> 1,
  maxReservedSize = 18 >> 1,
  blockSize = 20 >> 1,
  /** The number of releases since the last allocation, counted up to `Eager.releases`. */
  releasesInARow = 22,
  /** Where the allocator is shared: the number that the parts of its handle have in common. */
  seal = 23,
  /** The most integers the buffer may have: tells the buffer from a copy of a part of it. */
  maxIntegers = 24,
  /** Units that are promised to tables of generations (arena.ts). */
  promised = 25,
  /** The index of the look-up (lookup.ts), the number of its entries less one, and 1 where it is exact. */
  lookup = 26,
  lookupMask = 27,
  isExact = 28,
  /** 1 or 3: the pools of each kind. */
  poolsPerKind = 29,
  /** The index of the pool of the reserve, which stands behind those of all kinds; 0 = there is none. */
  reservePool = 30,
}

/** The look-up of an allocator whose blocks lie in 64 MiB, or anywhere (lookup.ts). These 4 KiB stay in the first-level cache. */
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
}

/** A place is a granule's number over the whole buffer: 32 for each record. */
export const enum Place {
  /** log2 of the places per integer: a record has 2 integers and 32 places. */
  shift = 4,
}

/** The links of the nodes of rings: blocks and free chunks. */
export const enum Link {
  next = 2,
  prev = 3,
}

/** Rings of free chunks, one for each power of two of their length in units. */
export const enum Bins {
  start = Lookup.start + Lookup.entries,
  count = 32,
}

/**
 * A unit is 256 bytes: small enough that the chunk of a 64 KiB block wastes little, large enough that the owner
 * table (4 bytes per unit) is 1.6 % of the memory it describes.
 */
export const enum Unit {
  shift = 6,
  integers = 1 << shift,
}

export const enum Pools {
  start = Bins.start + Bins.count * Size.node,
}

/**
 * The kinds of memory. The pools of a kind stand together, first those of code: pool 0 always is code's. All the core knows of
 * kinds is that a pool has one. A last pool, of code too, may have the reserve: one block, which is kept also when it is empty.
 */
export const enum Kind {
  code = 0,
  constants = 1,
  data = 2,
  count = 3,
}

export const enum Classes {
  count = 128,
}

export const enum Pool {
  /** The block whose untouched tail is in use, 0 = none. */
  current = 0,
  /** The one empty block that is kept, 0 = none. */
  empty = 1,
  /** The first spare chunk for lists, 0 = none; integer 0 of a spare chunk names the next. */
  spareChunks = 2,
  /** The number of chunks of the lists, including the spare ones. */
  chunkCount = 3,
  /** When the lists have this many chunks, they are made anew before they get another. */
  chunkLimit = 4,
  /** log2 of this pool's granularity in bytes. */
  granuleShift = 5,
  /** 1 where a free run may be in no list, because there was no room for one more chunk. */
  isIncomplete = 6,
  /** Four words: bit c of them = the list of class c is not empty. */
  classBits = 8,
  /** The sentinel of the ring of the pool's blocks, oldest first. */
  blocks = 12,
  /** The sentinel of the ring of blocks that have dirty words. */
  dirtyBlocks = 16,
  /** The list of each class: the index of its last entry; of its first chunk where it is empty; -1 where it has none. */
  classTops = 20,
}

/** The state of the spans of a block, as bits; 0 where no Span was made in it. */
export const enum Spans {
  none = 0,
  /** Spans were made: the block has its table of generations, or the units for it are promised. */
  made = 1,
  /** The table may have entries other than 0. */
  marked = 2,
  /** An allocation may have several spans: every release leaves a mark. */
  watched = 4,
  /** The allocator is shared: the table has the generations and lengths of all allocations (ledger.ts). */
  ledger = 8,
  /** Something was released through anything but the span that `alloc` made of it. */
  foreign = 16,
}

/** When a release enters the free run that it makes in the index. */
export const enum Eager {
  /**
   * The number of releases in a row that enter their run at once. A program that releases more before it allocates again
   * will most likely go on. Its further releases only make words dirty, which costs less than half; the index looks at
   * these words when an allocation asks for a hole.
   */
  releases = 8,
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
  /** The first granule of the tail: from there on nothing was allocated since the block was last empty. */
  tail = 9,
  /** Free granules below the tail. The others there are in use, so a bump allocation has no granules to count. */
  freed = 10,
  /** Live allocations. */
  live = 11,
  /** The index of its pool. */
  pool = 12,
  /** A release looks at the block's use where the live allocations left have none of these bits (thrift.ts). */
  lookMask = 13,
  /** The index of the block's generations (generations.ts), an integer a granule; 0 = it has none, or is promised them. */
  generations = 14,
  /** The lower 32 bits of rx: with them the offset of an address is a difference of integers. */
  rxLow = 15,
  left = 16,
  right = 17,
  parent = 18,
  /** 1 = red, 0 = black. */
  red = 19,
  dirtySummary = 20,
  full = 21,
  fullSummary = 22,
  /** A number that no other block has: below the count of blocks, or not far above it. */
  number = 23,
  /** Bits of `Spans`. It shares the node `inPool`, whose integer 0 is no link. */
  spans = 24,
  /**
   * Granules at the end that were left over when another block became the current one: too short for the request that
   * needed that block. It shares the node `inPool`, whose integer 1 is no link.
   */
  leftOver = 25,
  /** The nodes in the rings of the pool's blocks, and of those with dirty words. */
  inPool = 24,
  inDirty = 28,
  /** The lower bound of its use, in granules, and how often it was filled again after its use had fallen (thrift.ts). */
  trimBelow = 28, // parts of the node `inDirty` that are no links
  refills = 29,
  /** The dirty bits begin right behind the header. */
  dirty = Size.block,
}
