/**
 * Walks the whole structure and throws at the first broken invariant, naming it by its number.
 * The invariants are written out, with their reasons, in docs/invariants.md.
 */
import { countOnes, lowBits, trailingOnes } from "./bits.ts";
import { blockUnits, generationUnits } from "./block.ts";
import { treeFirst, treeNext } from "./block-tree.ts";
import { Bins, Block, Classes, Format, Header, Link, Pool, Pools, Recent, Size, Unit } from "./layout.ts";
import { blockOfRecentRun } from "./recent-runs.ts";
import { classOfRun, freeGranules } from "./run-index.ts";

function check(holds: boolean, invariant: number, what: string): void {
  if (!holds) throw new Error(`invariant ${invariant} is broken: ${what}`);
}

/** Throws an Error at the first broken invariant. Costs time in proportion to everything that is mapped. */
export function verifyStructure(words: Int32Array, doubles: Float64Array): void {
  check(
    words[Header.magic] === Format.magic && words[Header.version] === Format.version,
    1,
    "the buffer's header",
  );
  verifyTree(words, doubles);
  verifyUnits(words);
  for (let index = 0; index < words[Header.poolCount]!; index++) {
    const pool = Pools.start + index * Size.pool;
    const classes = verifyRings(words, pool);
    verifyPool(words, pool, classes);
  }
}

// --- the tree of blocks ---------------------------------------------------------------------------------------

function verifyTree(words: Int32Array, doubles: Float64Array): void {
  const root = words[Header.treeRoot]!;
  check(root === 0 || words[root + Block.parent] === 0, 2, "the root of the tree has a parent");
  check(words[root + Block.red] === 0 || root === 0, 2, "the root of the tree is red");
  verifySubtree(words, root);
  let count = 0;
  let reserved = 0;
  let end = 0;
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, block)) {
    const rx = doubles[(block >> 1) + Block.rx]!;
    const size = doubles[(block >> 1) + Block.size]!;
    check(rx >= end, 3, `the block at ${rx} begins before ${end}, where the one before it ends`);
    check(
      size === words[block + Block.capacity]! * 2 ** words[block + Block.granuleShift]!,
      3,
      "a block's size",
    );
    end = rx + size;
    count += 1;
    reserved += size;
  }
  check(
    count === words[Header.blockCount],
    4,
    `${count} blocks in the tree, ${words[Header.blockCount]} counted`,
  );
  check(reserved === doubles[Header.reservedSize], 4, `${reserved} bytes mapped, not what is counted`);
  check(reserved <= doubles[Header.maxReservedSize]!, 4, `${reserved} bytes mapped, more than allowed`);
}

/** Returns the number of black nodes on every path down. */
function verifySubtree(words: Int32Array, node: number): number {
  if (node === 0) return 1;
  const left = words[node + Block.left]!;
  const right = words[node + Block.right]!;
  const red = words[node + Block.red]!;
  for (const child of [left, right]) {
    if (child === 0) continue;
    check(words[child + Block.parent] === node, 2, "a child in the tree has another parent");
    check(red === 0 || words[child + Block.red] === 0, 2, "a red node of the tree has a red child");
  }
  const leftBlack = verifySubtree(words, left);
  check(leftBlack === verifySubtree(words, right), 2, "two paths of the tree have different black heights");
  return leftBlack + (red === 0 ? 1 : 0);
}

// --- the buffer -----------------------------------------------------------------------------------------------

/** Every unit belongs to the fixed part, a block, its generations, the owner table or one free chunk. */
function verifyUnits(words: Int32Array): void {
  const owners = words[Header.owners]!;
  const unitCount = words[Header.unitCount]!;
  const capacity = words[Header.ownersCapacity]!;
  check(unitCount <= capacity && unitCount << Unit.shift <= words.length, 5, "the owner table is too short");
  const claimed = new Uint8Array(unitCount);
  const claim = (index: number, count: number, what: string): void => {
    for (let unit = index >> Unit.shift; unit < (index >> Unit.shift) + count; unit++) {
      check(unit < unitCount && claimed[unit] === 0, 5, `unit ${unit} of ${what} is somebody else's`);
      claimed[unit] = 1;
    }
  };
  const fixed = Pools.start + words[Header.poolCount]! * Size.pool;
  claim(0, (fixed + (1 << Unit.shift) - 1) >> Unit.shift, "the fixed part");
  claim(owners, capacity >> Unit.shift, "the owner table");
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, block)) {
    const count = blockUnits(words[block + Block.capacity]!);
    claim(block, count, "a block");
    for (let unit = block >> Unit.shift; unit < (block >> Unit.shift) + count; unit++) {
      check(words[owners + unit] === block, 5, `unit ${unit} does not name its block`);
    }
    const generations = words[block + Block.generations]!;
    if (generations !== 0) claim(generations, generationUnits(words[block + Block.capacity]!), "generations");
  }
  for (let bin = 0; bin < Bins.count; bin++) {
    const sentinel = Bins.start + bin * Size.record;
    for (let node = words[sentinel + Link.next]!; node !== sentinel; node = words[node + Link.next]!) {
      const unit = node >> Unit.shift;
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
  for (let c = 0; c < Classes.count; c++) {
    const sentinel = pool + Pool.classes + c * Size.record;
    let before = sentinel;
    for (let node = words[sentinel + Link.next]!; node !== sentinel; node = words[node + Link.next]!) {
      check(words[node + Link.prev] === before, 12, `the ring of class ${c} is torn`);
      check(!classes.has(node), 12, `a record is in two rings, the second of class ${c}`);
      classes.set(node, c);
      const block = words[words[Header.owners]! + (node >> Unit.shift)]!;
      check(block > 0 && words[block + Block.pool] === pool, 12, `the ring of class ${c} holds a stranger`);
      before = node;
    }
    check(words[sentinel + Link.prev] === before, 12, `the ring of class ${c} is torn`);
    const bit = (words[pool + Pool.classBits + (c >>> 5)]! >>> (c & 31)) & 1;
    check((bit === 1) === (before !== sentinel), 12, `the bit of class ${c} is wrong`);
  }
  for (let group = 0; group < Classes.count >>> 5; group++) {
    const bit = (words[pool + Pool.classSummary]! >>> group) & 1;
    check((bit === 1) === (words[pool + Pool.classBits + group] !== 0), 12, "the summary of the classes");
  }
  return classes;
}

function verifyPool(words: Int32Array, pool: number, classes: ReadonlyMap<number, number>): void {
  const dirtyBlocks = new Set<number>();
  const queue = pool + Pool.dirtyBlocks;
  for (let node = words[queue + Link.next]!; node !== queue; node = words[node + Link.next]!) {
    check(words[words[node + Link.next]! + Link.prev] === node, 11, "the ring of dirty blocks is torn");
    dirtyBlocks.add(node - Block.inDirty);
  }
  const recent = wordsOfRecentRuns(words, pool);
  const blocks = new Set<number>();
  const sentinel = pool + Pool.blocks;
  for (let node = words[sentinel + Link.next]!; node !== sentinel; node = words[node + Link.next]!) {
    check(words[words[node + Link.next]! + Link.prev] === node, 4, "the ring of the pool's blocks is torn");
    const block = node - Block.inPool;
    blocks.add(block);
    check(words[block + Block.pool] === pool, 4, "a block is in the ring of another pool");
    check(words[block + Block.granuleShift] === words[pool + Pool.granuleShift], 4, "a block's granularity");
    verifyBlock(words, pool, block);
    verifyIndex(words, block, classes, dirtyBlocks.has(block), recent);
  }
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, block)) {
    check(
      (words[block + Block.pool] === pool) === blocks.has(block),
      4,
      "a block is missing in its pool's ring",
    );
  }
  for (const block of dirtyBlocks) check(blocks.has(block), 11, "a dirty block is not of the pool");
  const current = words[pool + Pool.current]!;
  check(current === 0 || blocks.has(current), 9, "the current block is not of the pool");
  const empty = words[pool + Pool.empty]!;
  check(
    empty === 0 || (blocks.has(empty) && words[empty + Block.live] === 0),
    10,
    "the empty block is not empty",
  );
}

// --- blocks ---------------------------------------------------------------------------------------------------

/** The bit vectors, and what is counted from them. */
function verifyBlock(words: Int32Array, pool: number, block: number): void {
  const records = words[block + Block.records]!;
  const capacity = words[block + Block.capacity]!;
  const tail = words[block + Block.tail]!;
  const padding = words[block + Block.padding]!;
  let used = 0;
  let stops = 0;
  for (let word = 0; word < capacity >>> 5; word++) {
    const usedBits = words[records + word * Size.record]!;
    const stopBits = words[records + word * Size.record + 1]!;
    used += countOnes(usedBits);
    stops += countOnes(stopBits);
    check((stopBits & ~usedBits) === 0, 7, `an allocation ends in a free granule of word ${word}`);
    const nextUsed = word + 1 < capacity >>> 5 ? words[records + (word + 1) * Size.record]! & 1 : 0;
    const followers = (usedBits >>> 1) | (nextUsed << 31);
    check((usedBits & ~stopBits & ~followers) === 0, 7, `an allocation in word ${word} has no end`);
  }
  check(used === words[block + Block.used], 8, `${used} granules used, ${words[block + Block.used]} counted`);
  check(
    stops - padding === words[block + Block.live],
    8,
    `${stops - padding} allocations, not what is counted`,
  );
  const first = lowBits(padding);
  check(
    (words[records]! & first) === first && (words[records + 1]! & first) === first,
    8,
    "the padding is not used, or goes on",
  );
  for (const guard of [records - Size.record, records + (capacity >>> 5) * Size.record]) {
    check(
      words[guard] === -1 && words[guard + 1] === -1 && words[guard + Link.next] === 0,
      7,
      "a guard is damaged",
    );
  }
  const open = words[pool + Pool.current] === block || words[pool + Pool.empty] === block;
  check(tail === capacity || (open && tail >= padding), 9, "a block that nothing is appended to has a tail");
  for (let granule = tail; granule < capacity; granule++) {
    const bit = (words[records + (granule >>> 5) * Size.record]! >>> (granule & 31)) & 1;
    check(bit === 0, 9, `granule ${granule} of the untouched tail is used`);
  }
  const isEmpty = words[block + Block.live] === 0;
  check(isEmpty === (words[pool + Pool.empty] === block), 10, "an empty block is not kept as the empty one");
  check(!isEmpty || tail === padding, 10, "the empty block's tail does not begin at its start");
  check(
    !isEmpty || words[Header.immediateRelease] === 0,
    10,
    "an empty block is kept in spite of the option",
  );
  const generations = words[block + Block.generations]!;
  if (generations !== 0) verifyGenerations(words, block, generations);
}

/** A generation stands at the start of an allocation only, and the allocation's length in its second granule. */
function verifyGenerations(words: Int32Array, block: number, generations: number): void {
  const records = words[block + Block.records]!;
  const padding = words[block + Block.padding]!;
  const has = (granule: number, field: number): boolean =>
    ((words[records + (granule >>> 5) * Size.record + field]! >>> (granule & 31)) & 1) !== 0;
  let start = 0;
  while (start < words[block + Block.capacity]!) {
    let end = start + 1;
    const isAllocated = has(start, 0) && start >= padding;
    while (isAllocated && !has(end - 1, 1)) end++;
    const generation = words[generations + start]!;
    check(generation === 0 || (isAllocated && generation < 0), 14, `granule ${start} has a generation`);
    for (let granule = start + 1; granule < end; granule++) {
      const expected = granule === start + 1 && generation !== 0 ? end - start : 0;
      check(words[generations + granule] === expected, 14, `granule ${granule} has a wrong length`);
    }
    start = end;
  }
}

/** The records of the words in which recent runs lie. */
function wordsOfRecentRuns(words: Int32Array, pool: number): ReadonlySet<number> {
  const records = new Set<number>();
  for (let count = 1; count <= Recent.longest; count++) {
    const entries = words[pool + Pool.recentCounts + count]!;
    check(entries >= 0 && entries <= Recent.runs, 12, `${entries} recent runs of ${count} granules`);
    for (let entry = 0; entry < entries; entry++) {
      const place = words[pool + Pool.recentPlaces + count * Recent.runs + entry]!;
      if (blockOfRecentRun(words, pool, place, count) === 0) continue;
      for (let p = place; p <= place + count - 1; p++) records.add((p >>> 5) << 2);
    }
  }
  return records;
}

/** The index says of every free run at least as much as is true, or its words are dirty, or hold recent runs. */
function verifyIndex(
  words: Int32Array,
  block: number,
  classes: ReadonlyMap<number, number>,
  queued: boolean,
  recent: ReadonlySet<number>,
): void {
  const wordCount = words[block + Block.capacity]! >>> 5;
  const groupCount = (wordCount >>> 5) + 1;
  const bit = (base: number, index: number): boolean =>
    ((words[base + (index >>> 5)]! >>> (index & 31)) & 1) !== 0;
  const dirty = (word: number): boolean =>
    bit(block + Block.dirty, word) || recent.has(words[block + Block.records]! + word * Size.record);
  for (let group = 0; group < groupCount; group++) {
    const dirtyBits = words[block + Block.dirty + group]!;
    check(
      (dirtyBits !== 0) === bit(words[block + Block.dirtySummary]!, group),
      11,
      "the summary of dirty words",
    );
    check(dirtyBits === 0 || queued, 11, "a block with dirty words does not wait to be looked at");
    const fullBits = words[words[block + Block.full]! + group]!;
    check(
      (fullBits === -1) === bit(words[block + Block.fullSummary]!, group),
      13,
      "the summary of full words",
    );
  }
  for (let word = 0; word < groupCount << 5; word++) {
    const full = bit(words[block + Block.full]!, word);
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
    const listed = classes.get(words[block + Block.records]! + startWord * Size.record) ?? -1;
    const known = someDirty || listed >= classOfRun(length);
    check(known, 12, `${length} free granules from bit ${startBit} of word ${startWord} on are lost`);
  }
}
