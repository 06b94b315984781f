/**
 * Where everything lives in the shared buffer.
 *
 * All state of an allocator is one SharedArrayBuffer, read as 32-bit integers (`words`) and, where a machine
 * address or a count of bytes is kept, as doubles (`doubles`) over the same bytes. An *index* below is an index
 * into `words`; index 0 is the magic number, so 0 can stand for "none" everywhere.
 *
 * ```
 * ┌ header ┬ look-up ┬ bins ┬ pool 0 ┬ pool 1 ┬ pool 2 ┬ units … ──────────────────────────────┐
 * │ 32     │ 1024    │ 128  │ 148    │  (only as many   │ chunks of 64-integer units: the      │
 * │        │         │      │        │   as there are)  │ owner table, blocks, generations and │
 * │        │         │      │        │                  │ the lists of free runs               │
 * └────────┴─────────┴──────┴────────┴──────────────────┴──────────────────────────────────────┘
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
 * Records lie side by side, so 32 granules from any one on are a matter of two neighbours (bits.ts).
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
  version = 3,
  /**
   * The highest index the buffer may reach: a place (a granule's number over the whole buffer, 16 times the index of
   * its record) must fit a signed 32-bit integer.
   * 2**27 integers are 512 MiB of metadata, enough for 100 GiB of code without spans.
   */
  maxIntegers = 2 ** 27,
}

/** How many integers the fixed things take. */
export const enum Size {
  header = 32,
  record = 2,
  /** What a member of a ring, or its sentinel, takes. */
  node = 4,
  block = 32,
  /** Pool.classTops, and the tops themselves. */
  pool = 20 + 128,
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
  /** The mark given last (generations.ts). */
  mark = 15,
  /** Bytes, as doubles: all blocks together; the most they may be; the base block size. */
  reservedSize = 16 >> 1,
  maxReservedSize = 18 >> 1,
  blockSize = 20 >> 1,
  /** How many allocations were released since the last one was made, as far as `Eager.releases` counts. */
  releasesInARow = 22,
  /** Where the allocator is shared: what the parts of its handle have in common. */
  seal = 23,
  /** How many integers the buffer may have at the most: tells it from a copy of a part of it. */
  maxIntegers = 24,
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
}

/** Where the places of granules come from: a record has one for each of its 32. */
export const enum Place {
  /** log2 of the places an integer of a record takes. */
  shift = 4,
}

/** The links of the nodes of rings: blocks and free chunks. */
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
  start = Bins.start + Bins.count * Size.node,
}

export const enum Classes {
  count = 128,
}

export const enum Pool {
  /** The block whose untouched tail is in use, 0 = none. */
  current = 0,
  /** The one empty block that is kept, 0 = none. */
  empty = 1,
  /** The first of the chunks of lists that wait to be used again, 0 = none; their integer 0 names the next. */
  spareChunks = 2,
  /** How many chunks the lists have, the spare ones among them. */
  chunkCount = 3,
  /** With so many chunks, the lists are made anew before they get another. */
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

/** What there is of spans in a block: bits, and 0 where no Span was made in it. */
export const enum Spans {
  none = 0,
  /** Some were made, and the block has its table of generations. */
  made = 1,
  /** Not all that stands in the table is 0. */
  marked = 2,
  /** An allocation may have several spans: every release leaves a mark. */
  watched = 4,
  /** The allocator is shared: the table has the generations and lengths of all allocations (ledger.ts). */
  ledger = 8,
  /** Something was released through anything but the span that `alloc` made of it. */
  foreign = 16,
}

/** When a release enters the run it makes in the index. */
export const enum Eager {
  /**
   * So many releases in a row do at once. A program that releases more than that before it allocates again will most
   * likely go on: what it releases then makes a word dirty, which costs less than half, and the index looks at the word when it
   * is asked for a hole.
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
  /** From this granule on nothing was ever allocated since the block was last empty. */
  tail = 9,
  /** Granules below the tail that are free: what is in use is the rest, so that an allocation from the tail counts nothing. */
  freed = 10,
  /** Live allocations. */
  live = 11,
  /** The index of its pool. */
  pool = 12,
  /** 1 where granule 0 is padding. */
  padding = 13,
  /** The index of the block's generations (generations.ts), an integer a granule; 0 = no Span was made in it yet. */
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
  /** Bits of `Spans`. It stands where a node has no link. */
  spans = 24,
  /** The nodes in the rings of the pool's blocks, and of those with dirty words. */
  inPool = 24,
  inDirty = 28,
  /** The dirty bits begin right behind the header. */
  dirty = Size.block,
}
