/**
 * Walks the whole structure and throws at the first broken invariant, naming it by its number.
 * The invariants are written out, with their reasons, in docs/invariants.md.
 */
import { countOnes, lowBits, trailingOnes } from "./bits.ts";
import { blockUnits, generationUnits } from "./block.ts";
import { treeFirst, treeNext } from "./block-tree.ts";
import {
  BIN_COUNT,
  BINS,
  BLOCK_CAPACITY,
  BLOCK_DIRTY,
  BLOCK_DIRTY_SUMMARY,
  BLOCK_FULL,
  BLOCK_FULL_SUMMARY,
  BLOCK_GENERATIONS,
  BLOCK_GRANULE_SHIFT,
  BLOCK_IN_DIRTY,
  BLOCK_IN_POOL,
  BLOCK_LEFT,
  BLOCK_LIVE,
  BLOCK_PADDING,
  BLOCK_PARENT,
  BLOCK_POOL,
  BLOCK_RECORDS,
  BLOCK_RED,
  BLOCK_RIGHT,
  BLOCK_RX,
  BLOCK_SIZE,
  BLOCK_TAIL,
  BLOCK_USED,
  CLASS_COUNT,
  HEADER_BLOCK_COUNT,
  HEADER_IMMEDIATE_RELEASE,
  HEADER_MAGIC,
  HEADER_MAX_RESERVED_SIZE,
  HEADER_OWNERS,
  HEADER_OWNERS_CAPACITY,
  HEADER_POOL_COUNT,
  HEADER_RESERVED_SIZE,
  HEADER_TREE_ROOT,
  HEADER_UNIT_COUNT,
  HEADER_VERSION,
  LAYOUT_VERSION,
  MAGIC,
  NEXT,
  POOL_BLOCKS,
  POOL_CLASS_BITS,
  POOL_CLASS_SUMMARY,
  POOL_CLASSES,
  POOL_CURRENT,
  POOL_DIRTY_BLOCKS,
  POOL_EMPTY,
  POOL_GRANULE_SHIFT,
  POOL_INTEGERS,
  POOLS,
  PREV,
  RECORD_INTEGERS,
  UNIT_SHIFT,
} from "./layout.ts";
import { classOfRun, freeGranules } from "./run-index.ts";

function check(holds: boolean, invariant: number, what: string): void {
  if (!holds) throw new Error(`invariant ${invariant} is broken: ${what}`);
}

/** Throws an Error at the first broken invariant. Costs time in proportion to everything that is mapped. */
export function verifyStructure(words: Int32Array, doubles: Float64Array): void {
  check(words[HEADER_MAGIC] === MAGIC && words[HEADER_VERSION] === LAYOUT_VERSION, 1, "the buffer's header");
  verifyTree(words, doubles);
  verifyUnits(words);
  for (let index = 0; index < words[HEADER_POOL_COUNT]!; index++) {
    const pool = POOLS + index * POOL_INTEGERS;
    const classes = verifyRings(words, pool);
    verifyPool(words, pool, classes);
  }
}

// --- the tree of blocks ---------------------------------------------------------------------------------------

function verifyTree(words: Int32Array, doubles: Float64Array): void {
  const root = words[HEADER_TREE_ROOT]!;
  check(root === 0 || words[root + BLOCK_PARENT] === 0, 2, "the root of the tree has a parent");
  check(words[root + BLOCK_RED] === 0 || root === 0, 2, "the root of the tree is red");
  verifySubtree(words, root);
  let count = 0;
  let reserved = 0;
  let end = 0;
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, block)) {
    const rx = doubles[(block >> 1) + BLOCK_RX]!;
    const size = doubles[(block >> 1) + BLOCK_SIZE]!;
    check(rx >= end, 3, `the block at ${rx} begins before ${end}, where the one before it ends`);
    check(
      size === words[block + BLOCK_CAPACITY]! * 2 ** words[block + BLOCK_GRANULE_SHIFT]!,
      3,
      "a block's size",
    );
    end = rx + size;
    count += 1;
    reserved += size;
  }
  check(
    count === words[HEADER_BLOCK_COUNT],
    4,
    `${count} blocks in the tree, ${words[HEADER_BLOCK_COUNT]} counted`,
  );
  check(reserved === doubles[HEADER_RESERVED_SIZE], 4, `${reserved} bytes mapped, not what is counted`);
  check(reserved <= doubles[HEADER_MAX_RESERVED_SIZE]!, 4, `${reserved} bytes mapped, more than allowed`);
}

/** Returns the number of black nodes on every path down. */
function verifySubtree(words: Int32Array, node: number): number {
  if (node === 0) return 1;
  const left = words[node + BLOCK_LEFT]!;
  const right = words[node + BLOCK_RIGHT]!;
  const red = words[node + BLOCK_RED]!;
  for (const child of [left, right]) {
    if (child === 0) continue;
    check(words[child + BLOCK_PARENT] === node, 2, "a child in the tree has another parent");
    check(red === 0 || words[child + BLOCK_RED] === 0, 2, "a red node of the tree has a red child");
  }
  const leftBlack = verifySubtree(words, left);
  check(leftBlack === verifySubtree(words, right), 2, "two paths of the tree have different black heights");
  return leftBlack + (red === 0 ? 1 : 0);
}

// --- the buffer -----------------------------------------------------------------------------------------------

/** Every unit belongs to the fixed part, a block, its generations, the owner table or one free chunk. */
function verifyUnits(words: Int32Array): void {
  const owners = words[HEADER_OWNERS]!;
  const unitCount = words[HEADER_UNIT_COUNT]!;
  const capacity = words[HEADER_OWNERS_CAPACITY]!;
  check(unitCount <= capacity && unitCount << UNIT_SHIFT <= words.length, 5, "the owner table is too short");
  const claimed = new Uint8Array(unitCount);
  const claim = (index: number, count: number, what: string): void => {
    for (let unit = index >> UNIT_SHIFT; unit < (index >> UNIT_SHIFT) + count; unit++) {
      check(unit < unitCount && claimed[unit] === 0, 5, `unit ${unit} of ${what} is somebody else's`);
      claimed[unit] = 1;
    }
  };
  const fixed = POOLS + words[HEADER_POOL_COUNT]! * POOL_INTEGERS;
  claim(0, (fixed + (1 << UNIT_SHIFT) - 1) >> UNIT_SHIFT, "the fixed part");
  claim(owners, capacity >> UNIT_SHIFT, "the owner table");
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, block)) {
    const count = blockUnits(words[block + BLOCK_CAPACITY]!);
    claim(block, count, "a block");
    for (let unit = block >> UNIT_SHIFT; unit < (block >> UNIT_SHIFT) + count; unit++) {
      check(words[owners + unit] === block, 5, `unit ${unit} does not name its block`);
    }
    const generations = words[block + BLOCK_GENERATIONS]!;
    if (generations !== 0) claim(generations, generationUnits(words[block + BLOCK_CAPACITY]!), "generations");
  }
  for (let bin = 0; bin < BIN_COUNT; bin++) {
    const sentinel = BINS + bin * RECORD_INTEGERS;
    for (let node = words[sentinel + NEXT]!; node !== sentinel; node = words[node + NEXT]!) {
      const unit = node >> UNIT_SHIFT;
      const count = -words[owners + unit]!;
      check(
        count > 0 && 31 - Math.clz32(count) === bin,
        6,
        `the free chunk at unit ${unit} is in the wrong bin`,
      );
      check(words[owners + unit + count - 1] === -count, 6, `the free chunk at unit ${unit} has two lengths`);
      const next = unit + count;
      check(next === unitCount || words[owners + next]! >= 0, 6, `two free chunks meet at unit ${next}`);
      claim(node, count, "a free chunk");
    }
  }
  check(!claimed.includes(0), 5, `unit ${claimed.indexOf(0)} is nobody's`);
}

// --- pools ----------------------------------------------------------------------------------------------------

/** Checks the rings of a pool's classes; returns the class of each listed record. */
function verifyRings(words: Int32Array, pool: number): Map<number, number> {
  const classes = new Map<number, number>();
  for (let c = 0; c < CLASS_COUNT; c++) {
    const sentinel = pool + POOL_CLASSES + c * RECORD_INTEGERS;
    let before = sentinel;
    for (let node = words[sentinel + NEXT]!; node !== sentinel; node = words[node + NEXT]!) {
      check(words[node + PREV] === before, 12, `the ring of class ${c} is torn`);
      check(!classes.has(node), 12, `a record is in two rings, the second of class ${c}`);
      classes.set(node, c);
      const block = words[words[HEADER_OWNERS]! + (node >> UNIT_SHIFT)]!;
      check(block > 0 && words[block + BLOCK_POOL] === pool, 12, `the ring of class ${c} holds a stranger`);
      before = node;
    }
    check(words[sentinel + PREV] === before, 12, `the ring of class ${c} is torn`);
    const bit = (words[pool + POOL_CLASS_BITS + (c >>> 5)]! >>> (c & 31)) & 1;
    check((bit === 1) === (before !== sentinel), 12, `the bit of class ${c} is wrong`);
  }
  for (let group = 0; group < CLASS_COUNT >>> 5; group++) {
    const bit = (words[pool + POOL_CLASS_SUMMARY]! >>> group) & 1;
    check((bit === 1) === (words[pool + POOL_CLASS_BITS + group] !== 0), 12, "the summary of the classes");
  }
  return classes;
}

function verifyPool(words: Int32Array, pool: number, classes: ReadonlyMap<number, number>): void {
  const dirtyBlocks = new Set<number>();
  const queue = pool + POOL_DIRTY_BLOCKS;
  for (let node = words[queue + NEXT]!; node !== queue; node = words[node + NEXT]!) {
    check(words[words[node + NEXT]! + PREV] === node, 11, "the ring of dirty blocks is torn");
    dirtyBlocks.add(node - BLOCK_IN_DIRTY);
  }
  const blocks = new Set<number>();
  const sentinel = pool + POOL_BLOCKS;
  for (let node = words[sentinel + NEXT]!; node !== sentinel; node = words[node + NEXT]!) {
    check(words[words[node + NEXT]! + PREV] === node, 4, "the ring of the pool's blocks is torn");
    const block = node - BLOCK_IN_POOL;
    blocks.add(block);
    check(words[block + BLOCK_POOL] === pool, 4, "a block is in the ring of another pool");
    check(
      words[block + BLOCK_GRANULE_SHIFT] === words[pool + POOL_GRANULE_SHIFT],
      4,
      "a block's granularity",
    );
    verifyBlock(words, pool, block);
    verifyIndex(words, block, classes, dirtyBlocks.has(block));
  }
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, block)) {
    check(
      (words[block + BLOCK_POOL] === pool) === blocks.has(block),
      4,
      "a block is missing in its pool's ring",
    );
  }
  for (const block of dirtyBlocks) check(blocks.has(block), 11, "a dirty block is not of the pool");
  const current = words[pool + POOL_CURRENT]!;
  check(current === 0 || blocks.has(current), 9, "the current block is not of the pool");
  const empty = words[pool + POOL_EMPTY]!;
  check(
    empty === 0 || (blocks.has(empty) && words[empty + BLOCK_LIVE] === 0),
    10,
    "the empty block is not empty",
  );
}

// --- blocks ---------------------------------------------------------------------------------------------------

/** The bit vectors, and what is counted from them. */
function verifyBlock(words: Int32Array, pool: number, block: number): void {
  const records = words[block + BLOCK_RECORDS]!;
  const capacity = words[block + BLOCK_CAPACITY]!;
  const tail = words[block + BLOCK_TAIL]!;
  const padding = words[block + BLOCK_PADDING]!;
  let used = 0;
  let stops = 0;
  for (let word = 0; word < capacity >>> 5; word++) {
    const usedBits = words[records + word * RECORD_INTEGERS]!;
    const stopBits = words[records + word * RECORD_INTEGERS + 1]!;
    used += countOnes(usedBits);
    stops += countOnes(stopBits);
    check((stopBits & ~usedBits) === 0, 7, `an allocation ends in a free granule of word ${word}`);
    const nextUsed = word + 1 < capacity >>> 5 ? words[records + (word + 1) * RECORD_INTEGERS]! & 1 : 0;
    const followers = (usedBits >>> 1) | (nextUsed << 31);
    check((usedBits & ~stopBits & ~followers) === 0, 7, `an allocation in word ${word} has no end`);
  }
  check(used === words[block + BLOCK_USED], 8, `${used} granules used, ${words[block + BLOCK_USED]} counted`);
  check(
    stops - padding === words[block + BLOCK_LIVE],
    8,
    `${stops - padding} allocations, not what is counted`,
  );
  const first = lowBits(padding);
  check(
    (words[records]! & first) === first && (words[records + 1]! & first) === first,
    8,
    "the padding is not used, or goes on",
  );
  for (const guard of [records - RECORD_INTEGERS, records + (capacity >>> 5) * RECORD_INTEGERS]) {
    check(
      words[guard] === -1 && words[guard + 1] === -1 && words[guard + NEXT] === 0,
      7,
      "a guard is damaged",
    );
  }
  const open = words[pool + POOL_CURRENT] === block || words[pool + POOL_EMPTY] === block;
  check(tail === capacity || (open && tail >= padding), 9, "a block that nothing is appended to has a tail");
  for (let granule = tail; granule < capacity; granule++) {
    const bit = (words[records + (granule >>> 5) * RECORD_INTEGERS]! >>> (granule & 31)) & 1;
    check(bit === 0, 9, `granule ${granule} of the untouched tail is used`);
  }
  const isEmpty = words[block + BLOCK_LIVE] === 0;
  check(isEmpty === (words[pool + POOL_EMPTY] === block), 10, "an empty block is not kept as the empty one");
  check(!isEmpty || tail === padding, 10, "the empty block's tail does not begin at its start");
  check(
    !isEmpty || words[HEADER_IMMEDIATE_RELEASE] === 0,
    10,
    "an empty block is kept in spite of the option",
  );
  const generations = words[block + BLOCK_GENERATIONS]!;
  if (generations !== 0) verifyGenerations(words, block, generations);
}

/** A generation stands at the start of an allocation only. */
function verifyGenerations(words: Int32Array, block: number, generations: number): void {
  const records = words[block + BLOCK_RECORDS]!;
  const padding = words[block + BLOCK_PADDING]!;
  let continues = false;
  for (let granule = 0; granule < words[block + BLOCK_CAPACITY]!; granule++) {
    const record = records + (granule >>> 5) * RECORD_INTEGERS;
    const used = ((words[record]! >>> (granule & 31)) & 1) !== 0;
    const stops = ((words[record + 1]! >>> (granule & 31)) & 1) !== 0;
    const starts = used && !continues && granule >= padding;
    check(starts || words[generations + granule] === 0, 14, `granule ${granule} has a generation`);
    continues = used && !stops;
  }
}

/** The index says of every free run at least as much as is true, or its words are dirty. */
function verifyIndex(
  words: Int32Array,
  block: number,
  classes: ReadonlyMap<number, number>,
  queued: boolean,
): void {
  const wordCount = words[block + BLOCK_CAPACITY]! >>> 5;
  const groupCount = (wordCount >>> 5) + 1;
  const bit = (base: number, index: number): boolean =>
    ((words[base + (index >>> 5)]! >>> (index & 31)) & 1) !== 0;
  const dirty = (word: number): boolean => bit(block + BLOCK_DIRTY, word);
  for (let group = 0; group < groupCount; group++) {
    const dirtyBits = words[block + BLOCK_DIRTY + group]!;
    check(
      (dirtyBits !== 0) === bit(words[block + BLOCK_DIRTY_SUMMARY]!, group),
      11,
      "the summary of dirty words",
    );
    check(dirtyBits === 0 || queued, 11, "a block with dirty words does not wait to be looked at");
    const fullBits = words[words[block + BLOCK_FULL]! + group]!;
    check(
      (fullBits === -1) === bit(words[block + BLOCK_FULL_SUMMARY]!, group),
      13,
      "the summary of full words",
    );
  }
  for (let word = 0; word < groupCount << 5; word++) {
    const full = bit(words[block + BLOCK_FULL]!, word);
    check(!full || freeGranules(words, block, word) === -1, 13, `word ${word} is called free and is not`);
  }
  let word = 0;
  let bitIndex = 0;
  while (word < wordCount) {
    const free = freeGranules(words, block, word) & (-1 << bitIndex);
    if (bitIndex === 32 || free === 0) {
      word += 1;
      bitIndex = 0;
      continue;
    }
    const startWord = word;
    const startBit = trailingOnes(~free);
    let length = trailingOnes(free >>> startBit);
    if (startBit > 0) length = Math.min(length, 32 - startBit);
    let someDirty = dirty(word);
    bitIndex = startBit + length;
    while (bitIndex === 32) {
      word += 1;
      const more = trailingOnes(freeGranules(words, block, word));
      if (more > 0 && dirty(word)) someDirty = true;
      length += more;
      bitIndex = more;
      if (word >= wordCount) break;
    }
    const listed = classes.get(words[block + BLOCK_RECORDS]! + startWord * RECORD_INTEGERS) ?? -1;
    const known = someDirty || listed >= classOfRun(length);
    check(known, 12, `${length} free granules from bit ${startBit} of word ${startWord} on are lost`);
  }
}
