/**
 * Where everything lives in the shared buffer.
 *
 * All state of an allocator is one SharedArrayBuffer, read as 32-bit integers (`words`) and, where a machine
 * address or a count of bytes is kept, as doubles (`doubles`) over the same bytes. An *index* below is an index
 * into `words`; index 0 is the magic number, so 0 can stand for "none" everywhere.
 *
 * ```
 * ┌ header ┬ look-up ┬ bins ┬ pool 0 ┬ pool 1 ┬ pool 2 ┬ units … ──────────────────────────┐
 * │ 32     │ 1024    │ 128  │ 1636   │  (only as many   │ chunks of 64-integer units: the  │
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
 * +0 used   bit g: granule g is allocated (or padding)
 * +1 stop   bit g: granule g is the last of its allocation
 * +2 next   the ring of records whose longest free run is of the same class; 0 = in no ring
 * +3 prev
 * ```
 */

/** "JITA" in ASCII: tells an allocator's buffer from any other. */
export const MAGIC = 0x4a495441;
/** Counts up whenever the meaning of a field changes. */
export const LAYOUT_VERSION = 1;

// --- the header -----------------------------------------------------------------------------------------------

export const HEADER_MAGIC = 0;
export const HEADER_VERSION = 1;
/** log2 of the base granularity in bytes: 6, 7 or 8. */
export const HEADER_GRANULE_SHIFT = 2;
/** 1 or 3. */
export const HEADER_POOL_COUNT = 3;
/** 1 where each block begins with a granule of padding, else 0. */
export const HEADER_PADDING = 4;
/** 1 where a block goes as soon as it is empty, else 0. */
export const HEADER_IMMEDIATE_RELEASE = 5;
/** How many blocks are mapped. */
export const HEADER_BLOCK_COUNT = 6;
/** The root of the tree of blocks, 0 = empty. */
export const HEADER_TREE_ROOT = 7;
/** The generation given last; generations are never 0. */
export const HEADER_GENERATION = 8;
/** How many blocks were ever added: gives each mapping its serial number. */
export const HEADER_SERIAL = 9;
/** The index of the owner table and how many units it can describe. */
export const HEADER_OWNERS = 10;
export const HEADER_OWNERS_CAPACITY = 11;
/** How many units are laid out, in use or free. */
export const HEADER_UNIT_COUNT = 12;
/** Bytes, as doubles: all blocks together; the most they may be; the base block size; the largest natural block. */
export const HEADER_RESERVED_SIZE = 16 >> 1;
export const HEADER_MAX_RESERVED_SIZE = 18 >> 1;
export const HEADER_BLOCK_SIZE = 20 >> 1;
export const HEADER_INTEGERS = 32;

// --- the look-up of blocks ------------------------------------------------------------------------------------

/**
 * Blocks by address: an entry for each mebibyte of addresses modulo 1024 names a block that lies there, or 0. 4 KiB
 * that stay in the first-level cache cover a gigabyte of code without conflict.
 */
export const LOOKUP = HEADER_INTEGERS;
export const LOOKUP_ENTRIES = 1024;
export const LOOKUP_SCALE = 2 ** -20;

// --- rings ----------------------------------------------------------------------------------------------------

/** Every node of a ring, sentinel or record, has its links here. */
export const NEXT = 2;
export const PREV = 3;
export const RECORD_INTEGERS = 4;

// --- chunks ---------------------------------------------------------------------------------------------------

/**
 * A unit is 256 bytes: small enough that the chunk of a 64 KiB block wastes little, large enough that the owner
 * table (4 bytes a unit) is 1.6 % of what it describes.
 */
export const UNIT_SHIFT = 6;
export const UNIT_INTEGERS = 1 << UNIT_SHIFT;
/** Free chunks are kept by the power of two of their length in units. */
export const BIN_COUNT = 32;
export const BINS = LOOKUP + LOOKUP_ENTRIES;
export const POOLS = BINS + BIN_COUNT * RECORD_INTEGERS;

// --- pools ----------------------------------------------------------------------------------------------------

/** The block whose untouched tail is in use, 0 = none. */
export const POOL_CURRENT = 0;
/** The one empty block that is kept, 0 = none. */
export const POOL_EMPTY = 1;
/** Bit g: one of the four words of class bits is not 0, number g. */
export const POOL_CLASS_SUMMARY = 2;
/** log2 of this pool's granularity in bytes. */
export const POOL_GRANULE_SHIFT = 3;
/** Four words: bit c of them = the ring of class c is not empty. */
export const POOL_CLASS_BITS = 4;
/** The sentinel of the ring of the pool's blocks, oldest first. */
export const POOL_BLOCKS = 8;
/** The sentinel of the ring of blocks that have dirty words. */
export const POOL_DIRTY_BLOCKS = 12;
/** 128 sentinels: one ring a class. */
export const POOL_CLASSES = 16;
export const CLASS_COUNT = 128;

/**
 * The runs released last, by length: what a program that frees and allocates the same sizes is served from. Up to 64
 * granules (4 KiB of code at 64 bytes), nearly all that compilers free; 16 of each length serve a burst of releases
 * and keep all of them in the first-level cache. An entry is a place, and only a hint: whoever takes it checks it.
 */
export const RECENT_LONGEST = 64;
export const RECENT_RUNS_SHIFT = 4;
export const RECENT_RUNS = 1 << RECENT_RUNS_SHIFT;
/** How many entries there are of length n, at `+ n`. */
export const POOL_RECENT_COUNTS = POOL_CLASSES + CLASS_COUNT * RECORD_INTEGERS;
/** The entries of length n, at `+ n * RECENT_RUNS`. */
export const POOL_RECENT_PLACES = POOL_RECENT_COUNTS + RECENT_LONGEST + 4;
export const POOL_INTEGERS = POOL_RECENT_PLACES + (RECENT_LONGEST + 1) * RECENT_RUNS;

// --- blocks ---------------------------------------------------------------------------------------------------

/** As doubles, at `(block >> 1) + …`: the addresses of the two views and the length in bytes. */
export const BLOCK_RX = 0;
export const BLOCK_RW = 1;
export const BLOCK_SIZE = 2;
/** log2 of the granule's size in bytes. */
export const BLOCK_GRANULE_SHIFT = 6;
/** The index of record 0. */
export const BLOCK_RECORDS = 7;
/** Granules. */
export const BLOCK_CAPACITY = 8;
/** From this granule on nothing was ever allocated since the block was last empty. */
export const BLOCK_TAIL = 9;
/** Granules in use, the padding among them. */
export const BLOCK_USED = 10;
/** Live allocations. */
export const BLOCK_LIVE = 11;
/** The index of its pool. */
export const BLOCK_POOL = 12;
/** 1 where granule 0 is padding. */
export const BLOCK_PADDING = 13;
/** The index of the generations, one integer a granule; 0 = no Span was made in this block yet. */
export const BLOCK_GENERATIONS = 14;
/** Which mapping this is, counted from 1. */
export const BLOCK_SERIAL = 15;
export const BLOCK_LEFT = 16;
export const BLOCK_RIGHT = 17;
export const BLOCK_PARENT = 18;
/** 1 = red, 0 = black. */
export const BLOCK_RED = 19;
export const BLOCK_DIRTY_SUMMARY = 20;
export const BLOCK_FULL = 21;
export const BLOCK_FULL_SUMMARY = 22;
/** Ring nodes: the pool's blocks, and the pool's blocks with dirty words. */
export const BLOCK_IN_POOL = 24;
export const BLOCK_IN_DIRTY = 28;
export const BLOCK_INTEGERS = 32;
/** The dirty bits begin right behind the header. */
export const BLOCK_DIRTY = BLOCK_INTEGERS;

/**
 * The highest index the buffer may reach: a place (a granule's number over the whole buffer, 8 times the index of its
 * record) must fit a signed 32-bit integer. 2**28 integers are 1 GiB of metadata, enough for 60 GiB of code.
 */
export const MAX_INTEGERS = 2 ** 28;
