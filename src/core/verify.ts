/**
 * Checks the whole buffer and throws at the first broken invariant, which it names by its number.
 * docs/invariants.md has the invariants and their reasons.
 */
import { countOnes, lowBits } from "./bits.ts";
import { blockUnits, generationUnits } from "./block.ts";
import { broken, checkExtent, mostChunks } from "./broken.ts";
import { treeFirst, treeNext } from "./block-tree.ts";
import { classOfRun } from "./classes.ts";
import { lookUpUnits, verifyLookUp } from "./lookup.ts";
import { ringNext } from "./ring.ts";
import {
  Bins,
  Block,
  Classes,
  Format,
  Header,
  Kind,
  Lookup,
  Place,
  Pool,
  Pools,
  Size,
  Spans,
  Unit,
  Word,
} from "./layout.ts";

function check(holds: boolean, invariant: number, what: string): void {
  if (!holds) broken(invariant, what);
}

/** Checks the buffer. Takes time in proportion to the mapped memory. @throws Error at the first broken invariant */
export function verifyStructure(words: Int32Array, doubles: Float64Array): void {
  check(
    words[Header.magic] === Format.magic && words[Header.version] === Format.version,
    1,
    "the buffer's header",
  );
  check(words[Header.noCapacity] === 0 && words[Header.noTail] === 0, 1, "there is room in no block");
  const poolCount = words[Header.poolCount]!;
  const perKind = words[Header.poolsPerKind]!;
  const reserves = words[Header.reservePool] === 0 ? 0 : 1;
  const isPossible = (perKind === 1 || perKind === 3) && poolCount === perKind * Kind.count + reserves;
  check(isPossible, 1, `${poolCount} pools, ${perKind} of each kind`);
  verifyTree(words, doubles);
  verifyLookUp(words, doubles);
  verifyUnits(words, doubles);
  for (let index = 0; index < poolCount; index++) {
    const pool = Pools.start + index * Size.pool;
    verifyPool(words, doubles, pool, verifyLists(words, pool));
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
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, doubles, block)) {
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
  check(left !== right || left === 0, 2, "a node of the tree has the same child twice");
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

/** Checks that every unit belongs to the fixed part, a block, its generations, the owner table, a list or one free chunk. */
function verifyUnits(words: Int32Array, doubles: Float64Array): void {
  const owners = words[Header.owners]!;
  const unitCount = words[Header.unitCount]!;
  const capacity = words[Header.ownersCapacity]!;
  const isLongEnough = unitCount <= capacity && unitCount * Unit.integers <= words.length;
  check(unitCount > 0 && isLongEnough, 5, "the owner table is too short");
  let promised = 0;
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
  if (words[Header.lookup] !== Lookup.start) claim(words[Header.lookup]!, lookUpUnits(words), "the look-up");
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, doubles, block)) {
    const count = blockUnits(words[block + Block.capacity]!);
    claim(block, count, "a block");
    for (let unit = block >> Unit.shift; unit < (block >> Unit.shift) + count; unit++) {
      check(words[owners + unit] === block, 5, `unit ${unit} does not name its block`);
    }
    const generations = words[block + Block.generations]!;
    const tableUnits = generationUnits(words[block + Block.capacity]!);
    if (generations !== 0) claim(generations, tableUnits, "generations");
    else if (words[block + Block.spans] !== Spans.none) promised += tableUnits;
  }
  for (let index = 0; index < words[Header.poolCount]!; index++) {
    for (const chunk of chunksOf(words, Pools.start + index * Size.pool)) claim(chunk, 1, "a list");
  }
  for (let bin = 0; bin < Bins.count; bin++) {
    const sentinel = Bins.start + bin * Size.node;
    for (let node = ringNext(words, sentinel, 6); node !== sentinel; node = ringNext(words, node, 6)) {
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
  check(promised === words[Header.promised], 5, `${promised} units are promised, not what is counted`);
  const isRoom = unitCount + promised <= capacity && (unitCount + promised) * Unit.integers <= words.length;
  check(isRoom, 5, "there is no room for what is promised");
}

// --- pools ----------------------------------------------------------------------------------------------------

/** The chunks of a pool's lists, including the spare ones. */
function chunksOf(words: Int32Array, pool: number): number[] {
  const chunks: number[] = [];
  const add = (chunk: number): void => {
    check(chunks.push(chunk) <= mostChunks(words), 12, "a list has no end");
  };
  for (let c = 0; c < Classes.count; c++) {
    for (let top = words[pool + Pool.classTops + c]!; top >= 0; top = words[top & -Unit.integers]!) {
      add(top & -Unit.integers);
    }
  }
  for (let chunk = words[pool + Pool.spareChunks]!; chunk !== 0; chunk = words[chunk]!) add(chunk);
  return chunks;
}

/** Checks the lists of a pool's classes; returns for each place the classes it is listed in. */
function verifyLists(words: Int32Array, pool: number): Map<number, number[]> {
  const listed = new Map<number, number[]>();
  for (let c = 0; c < Classes.count; c++) {
    let top = words[pool + Pool.classTops + c]!;
    const bit = (words[pool + Pool.classBits + (c >>> 5)]! >>> (c & 31)) & 1;
    const isEmpty = top < 0 || (top & (Unit.integers - 1)) === 0;
    check((bit === 0) === isEmpty, 12, `the bit of class ${c} is wrong`);
    check(
      !isEmpty || top < 0 || words[top] === -1,
      12,
      `the list of class ${c} has an empty chunk on others`,
    );
    while (top >= 0) {
      for (; (top & (Unit.integers - 1)) !== 0; top--) {
        const place = words[top]!;
        listed.set(place, [...(listed.get(place) ?? []), c]);
      }
      top = words[top]!;
      check(top < 0 || (top & (Unit.integers - 1)) === Unit.integers - 1, 12, `class ${c} has a gap`);
    }
  }
  const chunkCount = chunksOf(words, pool).length;
  check(
    chunkCount === words[pool + Pool.chunkCount],
    12,
    `${chunkCount} chunks of lists, ${words[pool + Pool.chunkCount]} counted`,
  );
  return listed;
}

function verifyPool(
  words: Int32Array,
  doubles: Float64Array,
  pool: number,
  listed: ReadonlyMap<number, readonly number[]>,
): void {
  const dirtyBlocks = new Set<number>();
  const queue = pool + Pool.dirtyBlocks;
  for (let node = ringNext(words, queue, 11); node !== queue; node = ringNext(words, node, 11)) {
    dirtyBlocks.add(node - Block.inDirty);
  }
  const blocks = new Set<number>();
  const sentinel = pool + Pool.blocks;
  for (let node = ringNext(words, sentinel, 4); node !== sentinel; node = ringNext(words, node, 4)) {
    const block = node - Block.inPool;
    checkExtent(words, block);
    blocks.add(block);
    check(words[block + Block.pool] === pool, 4, "a block is in the ring of another pool");
    check(words[block + Block.granuleShift] === words[pool + Pool.granuleShift], 4, "a block's granularity");
    verifyBlock(words, pool, block);
    verifyFullBits(words, block);
    verifyIndex(words, block, listed, dirtyBlocks.has(block), words[pool + Pool.isIncomplete] === 0);
  }
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, doubles, block)) {
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

/** Checks the bit vectors of a block, and the counts of them. */
function verifyBlock(words: Int32Array, pool: number, block: number): void {
  const records = words[block + Block.records]!;
  const capacity = words[block + Block.capacity]!;
  const tail = words[block + Block.tail]!;
  const padding = words[Header.padding]!;
  let free = 0;
  let stops = 0;
  for (let word = 0; word < capacity >>> 5; word++) {
    const record = records + word * Size.record;
    const freeBits = words[record + Word.free]!;
    const stopBits = words[record + Word.stop]!;
    free += countOnes(freeBits);
    stops += countOnes(stopBits);
    check((stopBits & freeBits) === 0, 7, `an allocation ends in a free granule of word ${word}`);
    // The granule at the tail counts as free: the one before it must be free or end an allocation.
    const nextFree = words[record + Size.record]! & 1;
    const followers = (freeBits >>> 1) | (nextFree << 31) | bitAt(tail - 1, word);
    check((followers & ~freeBits & ~stopBits) === 0, 7, `an allocation in word ${word} has no end`);
    const behindTail = tail <= word << 5 ? -1 : tail >= (word + 1) << 5 ? 0 : -1 << (tail & 31);
    check(((freeBits | stopBits) & behindTail) === 0, 9, `word ${word} is touched behind the tail`);
  }
  check(
    free === words[block + Block.freed],
    8,
    `${free} granules free, ${words[block + Block.freed]} counted`,
  );
  check(
    stops - padding === words[block + Block.live],
    8,
    `${stops - padding} allocations, not what is counted`,
  );
  const first = lowBits(padding);
  check(
    (words[records]! & first) === 0 && (words[records + Word.stop]! & first) === first,
    8,
    "the padding is free, or goes on",
  );
  const guards = [
    [records - Size.record, padding === 0 ? -1 : 0],
    [records + (capacity >>> 5) * Size.record, -1],
  ] as const;
  for (const [guard, stops] of guards) {
    check(words[guard] === 0 && words[guard + Word.stop] === stops, 7, "a guard is damaged");
  }
  const open = words[pool + Pool.current] === block || words[pool + Pool.empty] === block;
  check(tail === capacity || (open && tail >= padding), 9, "a block that nothing is appended to has a tail");
  const isEmpty = words[block + Block.live] === 0;
  check(isEmpty === (words[pool + Pool.empty] === block), 10, "an empty block is not kept as the empty one");
  check(!isEmpty || tail === padding, 10, "the empty block's tail does not begin at its start");
  check(
    !isEmpty || words[Header.immediateRelease] === 0 || pool === words[Header.reservePool],
    10,
    "an empty block is kept in spite of the option",
  );
  const generations = words[block + Block.generations]!;
  if (generations !== 0) verifyGenerations(words, block, generations);
  else check((words[block + Block.spans]! & ~Spans.made) === 0, 14, "a table is missing");
}

/**
 * Checks the table of generations. A ledger has the generation and the length of every allocation, and nothing else.
 * Another table has generations only where an allocation begins, and only zeros while `Spans.marked` is not set.
 */
function verifyGenerations(words: Int32Array, block: number, generations: number): void {
  const records = words[block + Block.records]!;
  const padding = words[Header.padding]!;
  const tail = words[block + Block.tail]!;
  const spans = words[block + Block.spans]!;
  check(spans !== Spans.none, 14, "a block has generations, and says that it has no spans");
  check(
    (spans & Spans.foreign) === 0 || (spans & Spans.marked) !== 0,
    14,
    "a release through something else has left no mark",
  );
  const has = (granule: number, field: number): boolean =>
    ((words[records + (granule >>> 5) * Size.record + field]! >>> (granule & 31)) & 1) !== 0;
  let start = 0;
  while (start < words[block + Block.capacity]!) {
    let end = start + 1;
    const isAllocated = start < tail && !has(start, Word.free) && start >= padding;
    while (isAllocated && end < tail && !has(end - 1, Word.stop)) end++;
    const generation = words[generations + start]!;
    check(generation >= 0 || isAllocated, 14, `granule ${start} has a generation`);
    check(
      (spans & ~(Spans.made | Spans.watched)) !== 0 || generation === 0,
      14,
      `granule ${start} has a mark in a block without`,
    );
    check(
      (spans & Spans.ledger) === 0 || generation < 0 === isAllocated,
      14,
      `granule ${start} is not in the ledger as it is`,
    );
    for (let granule = start + 1; granule < end; granule++) {
      const value = words[generations + granule]!;
      const length = granule === start + 1 ? end - start : 0;
      check(
        (spans & Spans.ledger) !== 0 ? value === length : value >= 0,
        14,
        `granule ${granule} has a wrong length`,
      );
    }
    start = end;
  }
}

/** The bit of `granule` in a word, or 0 where the granule lies in another word. */
function bitAt(granule: number, word: number): number {
  return granule >> 5 === word ? 1 << (granule & 31) : 0;
}

/** Checks the full bits of a block, and their summary. */
function verifyFullBits(words: Int32Array, block: number): void {
  const records = words[block + Block.records]!;
  const wordCount = words[block + Block.capacity]! >>> 5;
  const groupCount = (wordCount >>> 5) + 1;
  const bit = (base: number, index: number): boolean =>
    ((words[base + (index >>> 5)]! >>> (index & 31)) & 1) !== 0;
  for (let group = 0; group < groupCount; group++) {
    const fullBits = words[words[block + Block.full]! + group]!;
    check(
      (fullBits === -1) === bit(words[block + Block.fullSummary]!, group),
      13,
      "the summary of full words",
    );
  }
  for (let word = 0; word < groupCount << 5; word++) {
    const isFull = word < wordCount && words[records + word * Size.record] === -1;
    check(isFull || !bit(words[block + Block.full]!, word), 13, `the full bit of word ${word}`);
  }
}

/** Checks that each free run is in the list of its class, or one of its words is dirty. */
function verifyIndex(
  words: Int32Array,
  block: number,
  listed: ReadonlyMap<number, readonly number[]>,
  isQueued: boolean,
  isComplete: boolean,
): void {
  const records = words[block + Block.records]!;
  const capacity = words[block + Block.capacity]!;
  const bit = (base: number, index: number): boolean =>
    ((words[base + (index >>> 5)]! >>> (index & 31)) & 1) !== 0;
  for (let group = 0; group <= capacity >>> 10; group++) {
    const isDirty = words[block + Block.dirty + group] !== 0;
    check(isDirty === bit(words[block + Block.dirtySummary]!, group), 11, "the summary of dirty words");
    check(!isDirty || isQueued, 11, "a block with dirty words does not wait to be looked at");
  }
  if (!isComplete) return;
  const isFree = (granule: number): boolean =>
    granule < capacity && ((words[records + (granule >>> 5) * Size.record]! >>> (granule & 31)) & 1) !== 0;
  for (let start = 0; start < capacity; start++) {
    if (!isFree(start)) continue;
    let end = start;
    let isDirty = false;
    for (; isFree(end); end++) isDirty ||= bit(block + Block.dirty, end >>> 5);
    const classes = listed.get((records << Place.shift) + start) ?? [];
    check(
      isDirty || classes.includes(classOfRun(end - start)),
      12,
      `${end - start} free granules from granule ${start} on are lost`,
    );
    start = end;
  }
}
