/**
 * The index of free runs: segregated free lists, which find a hole of a given length at a cost that does not depend on the
 * number of holes or blocks.
 *
 * Each size class has a free list, used as a stack. An entry is the place at which a run begins, and only a hint: it is
 * true if a run of exactly that class still begins there. An operation that makes a run longer, shorter or used leaves its
 * entry alone. An allocation that takes an entry checks the bits, and drops a stale one. So a list is written only at its
 * end, and no operation searches one.
 *
 * Every free run has a true entry, or a *dirty* word: many releases in a row only mark their words dirty, and the next
 * allocation that wants a hole has these indexed first. If the block empties before, they are never looked at.
 *
 * When too many entries are stale, all lists are made anew from the bits, which costs less than it cost to make those
 * entries.
 *
 * A list is a stack of chunks of 64 integers: the first names the last entry of the chunk below, or is -1.
 *
 * Here `pool` is a pool's index in the buffer.
 */
import * as bits from "./bits.ts";
import { forgetDirty } from "./block.ts";
import { createBlock, forgetBlock } from "./blocks.ts";
import { broken, checkExtent, mostChunks } from "./broken.ts";
import * as classes from "./classes.ts";
import * as freeRuns from "./free-runs.ts";
import { Block, Classes, Header, Kind, Link, Place, Pool, Size, Unit } from "./layout.ts";
import { ringInsert, ringNext, ringRemove } from "./ring.ts";
import * as states from "./state.ts";
import { LEAST_CHUNK_LIMIT } from "./state.ts";
import type { State } from "./state.ts";
import { closeTail } from "./tail.ts";

// Constants of this module: an engine looks up and checks an imported function at each use (docs/performance.md).
const { bitsFrom, lowestBit, trailingOnes } = bits;
const { classOfRun } = classes;
const { freeBefore, freeFrom } = freeRuns;
const { poolAt } = states;

/**
 * The most groups of 32 words whose dirty words are indexed before an allocation takes a hole: enough to keep up with any
 * mix of releases and allocations, and a bound on what one allocation pays for the releases before it.
 */
const GROUPS_AT_ONCE = 8;

/**
 * How many chunks a pool takes at once. A young allocator needs one for each class that it meets, and taking each by itself
 * cost a nanosecond of the 61 that an operation of the HotSpot trace took.
 */
const CHUNKS_AT_ONCE = 8;

/** More chunks than any pool ever has. */
const NO_LIMIT = 2 ** 30;

/** Adds an empty mapped block as its pool's current one. Returns it, or 0 where there is no room for its metadata. */
export function addBlock(state: State, poolIndex: number, rx: number, rw: number, sizeBytes: number): number {
  const block = createBlock(state, poolIndex, rx, rw, sizeBytes);
  if (block !== 0) makeCurrent(state, poolAt(poolIndex), block);
  return block;
}

/** Forgets a block that has been unmapped; with the last block of a pool, the pool's lists too. */
export function removeBlock(state: State, block: number): void {
  const pool = state.words[block + Block.pool]!;
  forgetBlock(state, block);
  if (state.words[pool + Pool.blocks + Link.next] === pool + Pool.blocks) indexPool(state, pool);
}

/** Makes a block the pool's current one. The rest of the former one's tail becomes a free run. */
export function makeCurrent(state: State, pool: number, block: number): void {
  const words = state.words;
  const before = words[pool + Pool.current]!;
  words[pool + Pool.current] = block;
  if (words[block + Block.live] === 0 && words[pool + Pool.empty] === 0) words[pool + Pool.empty] = block;
  // An empty block keeps its tail, for when it is used again.
  if (before === 0 || words[pool + Pool.empty] === before) return;
  const tail = closeTail(words, before);
  const count = words[before + Block.capacity]! - tail;
  words[before + Block.leftOver] = count;
  if (count > 0) joinRun(state, before, tail, count);
}

/** Makes all lists anew from the bits: after a repair. */
export function indexAll(state: State): void {
  const poolCount = state.words[Header.poolCount]!;
  if (poolCount > 3 * Kind.count + 1) broken(1, `${poolCount} pools`);
  for (let index = 0; index < poolCount; index++) indexPool(state, poolAt(index));
}

// --- entering -----------------------------------------------------------------------------------------------

/** Coalesces `count` granules that have become free with the free ones beside them, and enters the run. */
export function joinRun(state: State, block: number, granule: number, count: number): void {
  const words = state.words;
  const before = freeBefore(words, block, granule);
  const length = before + count + freeFrom(words, block, granule + count);
  // A run that has grown within its class has its entry already.
  if (before === 0 || classOfRun(before) !== classOfRun(length))
    listRun(state, block, granule - before, length);
}

/** Enters the run of `length` granules that begins at `granule`. */
export function listRun(state: State, block: number, granule: number, length: number): void {
  const words = state.words;
  const pool = words[block + Block.pool]!;
  const runClass = classOfRun(length);
  const place = (words[block + Block.records]! << Place.shift) + granule;
  const top = words[pool + Pool.classTops + runClass]! + 1;
  if ((top & (Unit.integers - 1)) === 0) {
    listInNewChunk(state, pool, runClass, place);
    return;
  }
  words[top] = place;
  words[pool + Pool.classTops + runClass] = top;
  // Set without a test: no processor could predict the branch.
  const group = pool + Pool.classBits + (runClass >>> 5);
  words[group] = words[group]! | (1 << (runClass & 31));
}

function listInNewChunk(state: State, pool: number, runClass: number, place: number): void {
  if (state.words[pool + Pool.chunkCount]! >= state.words[pool + Pool.chunkLimit]!) {
    indexPool(state, pool); // enters this run as well
    return;
  }
  const chunk = takeChunk(state, pool);
  const words = state.words;
  if (chunk === 0) {
    words[pool + Pool.isIncomplete] = 1;
    return;
  }
  words[chunk] = words[pool + Pool.classTops + runClass]!;
  words[chunk + 1] = place;
  words[pool + Pool.classTops + runClass] = chunk + 1;
  const group = pool + Pool.classBits + (runClass >>> 5);
  words[group] = words[group]! | (1 << (runClass & 31));
}

/** A chunk for entries, or 0 where there is no room for one. */
function takeChunk(state: State, pool: number): number {
  let chunk = state.words[pool + Pool.spareChunks]!;
  if (chunk === 0) {
    addSpareChunks(state, pool, CHUNKS_AT_ONCE);
    if (state.words[pool + Pool.spareChunks] === 0) addSpareChunks(state, pool, 1);
    chunk = state.words[pool + Pool.spareChunks]!;
  }
  if (chunk !== 0) state.words[pool + Pool.spareChunks] = state.words[chunk]!;
  return chunk;
}

/** Adds spare chunks to a pool that has none, if there is room for them. */
function addSpareChunks(state: State, pool: number, count: number): void {
  const first = state.takeUnits(count, false);
  if (first === 0) return;
  const words = state.words;
  for (let number = 0; number < count; number++) {
    words[first + number * Unit.integers] = number + 1 < count ? first + (number + 1) * Unit.integers : 0;
  }
  words[pool + Pool.spareChunks] = first;
  words[pool + Pool.chunkCount] = words[pool + Pool.chunkCount]! + count;
}

// --- dirty words --------------------------------------------------------------------------------------------

/** Marks the word of a granule dirty: its new free run is left to the next allocation that wants a hole. */
export function makeDirty(state: State, block: number, granule: number): void {
  const words = state.words;
  const index = block + Block.dirty + (granule >>> 10);
  const before = words[index]!;
  words[index] = before | (1 << ((granule >>> 5) & 31));
  if (before === 0) queueGroup(state, block, granule >>> 10);
}

/** Marks a group of 32 words that has its first dirty one, and queues the block. */
function queueGroup(state: State, block: number, group: number): void {
  const words = state.words;
  const summary = words[block + Block.dirtySummary]! + (group >>> 5);
  words[summary] = words[summary]! | (1 << (group & 31));
  if (words[block + Block.inDirty + Link.next] !== 0) return;
  ringInsert(words, words[block + Block.pool]! + Pool.dirtyBlocks, block + Block.inDirty);
}

/** Indexes dirty words: all of them, or as many as one allocation should pay for. */
export function indexDirtyWords(state: State, pool: number, isAll: boolean): void {
  state.needRoom();
  const words = state.words;
  const queue = pool + Pool.dirtyBlocks;
  let left = isAll ? Infinity : GROUPS_AT_ONCE;
  for (let node = ringNext(words, queue, 11); node !== queue; node = ringNext(words, queue, 11)) {
    const block = node - Block.inDirty;
    // The summary lies between the dirty bits and the full bits.
    const first = words[block + Block.dirtySummary]!;
    const end = words[block + Block.full]!;
    if (!(block < first && first < end && end < words.length)) broken(11, "a block has no dirty words");
    for (let summary = first; summary < end; summary++) {
      while (words[summary] !== 0) {
        if (left === 0) return;
        left -= 1;
        const bit = lowestBit(words[summary]!);
        words[summary] = words[summary]! & ~(1 << bit);
        indexGroup(state, block, ((summary - first) << 5) + bit);
      }
    }
    // Unless the lists were made anew in between: then no block has dirty words or is in the ring.
    if (words[node + Link.next] !== 0) ringRemove(words, node);
  }
}

/** Indexes the dirty words of one group of 32. */
function indexGroup(state: State, block: number, group: number): void {
  const words = state.words;
  const records = words[block + Block.records]!;
  let dirty = words[block + Block.dirty + group]!;
  words[block + Block.dirty + group] = 0;
  while (dirty !== 0) {
    const word = (group << 5) + lowestBit(dirty);
    const record = records + (word << 1);
    dirty &= dirty - 1;
    // A full word whose run goes on into the next word is skipped if that one is dirty too: that one enters the run.
    const isNextDirty = ((dirty >>> (word & 31)) >>> 1) & words[record + Size.record]! & 1;
    if (words[record] !== -1 || isNextDirty === 0) indexWord(state, block, word);
  }
}

/** Enters all runs that overlap a word. */
function indexWord(state: State, block: number, word: number): void {
  const words = state.words;
  const granule = word << 5;
  const free = words[words[block + Block.records]! + (word << 1)]!;
  const before = (free & 1) !== 0 ? freeBefore(words, block, granule) : 0;
  if (before !== 0) listRun(state, block, granule - before, before + freeFrom(words, block, granule));
  listRunsBeginningIn(state, block, word, before !== 0 ? 1 : 0);
}

/** Enters the runs that begin in a word; `entering` is 1 where the granule before the word is free. */
function listRunsBeginningIn(state: State, block: number, word: number, entering: number): void {
  const free = state.words[state.words[block + Block.records]! + (word << 1)]!;
  for (let starts = free & ~((free << 1) | entering); starts !== 0; starts &= starts - 1) {
    const bit = lowestBit(starts);
    const granule = (word << 5) + bit;
    const end = bit + trailingOnes(free >> bit); // beyond the word where the run reaches its end
    listRun(state, block, granule, end < 32 ? end - bit : freeFrom(state.words, block, granule));
  }
}

// --- finding ------------------------------------------------------------------------------------------------

/** Pops the top chunk of a list, whose last entry was taken. The lowest chunk stays, and the list is empty. */
export function chunkEmptied(state: State, pool: number, runClass: number, chunk: number): void {
  const words = state.words;
  const below = words[chunk]!;
  if (below < 0) {
    const group = pool + Pool.classBits + (runClass >>> 5);
    words[group] = words[group]! & ~(1 << (runClass & 31));
    return;
  }
  words[pool + Pool.classTops + runClass] = below;
  words[chunk] = words[pool + Pool.spareChunks]!;
  words[pool + Pool.spareChunks] = chunk;
}

/** The length of the run of that class that begins at a place, or 0 where there is none: the entry is stale. */
export function lengthOfEntry(state: State, pool: number, runClass: number, place: number): number {
  const words = state.words;
  const block = blockOfPlace(state, pool, place);
  if (block === 0) return 0;
  const granule = granuleOfPlace(words, block, place);
  const record = (place >>> 5) << 1;
  const free = bitsFrom(words[record]!, words[record + Size.record]!, place & 31);
  const before = ((place - 1) >>> 5) << 1;
  if ((free & ~(words[before]! >>> ((place - 1) & 31)) & 1) === 0) return 0;
  const length = free !== -1 ? lowestBit(~free) : freeFrom(words, block, granule);
  return classOfRun(length) === runClass ? length : 0;
}

/** The block that a place lies in, or 0 where it is no block of this pool any more. */
export function blockOfPlace(state: State, pool: number, place: number): number {
  const words = state.words;
  const block = words[words[Header.owners]! + (place >>> (Place.shift + Unit.shift))]!;
  const isOfPool = block > 0 && words[block + Block.pool] === pool;
  return isOfPool && granuleOfPlace(words, block, place) >= 0 ? block : 0;
}

// --- making anew --------------------------------------------------------------------------------------------

/** Empties the lists of a pool and enters each of its free runs once. */
function indexPool(state: State, pool: number): void {
  const words = state.words;
  let left = mostChunks(words);
  if (words[pool + Pool.chunkCount]! > left) endless();
  for (let c = 0; c < Classes.count; c++) {
    for (let top = words[pool + Pool.classTops + c]!; top >= 0;) {
      if (--left < 0) endless();
      const chunk = top & -Unit.integers;
      top = words[chunk]!;
      words[chunk] = words[pool + Pool.spareChunks]!;
      words[pool + Pool.spareChunks] = chunk;
    }
    words[pool + Pool.classTops + c] = -1;
  }
  words.fill(0, pool + Pool.classBits, pool + Pool.classBits + (Classes.count >>> 5));
  words[pool + Pool.isIncomplete] = 0;
  words[pool + Pool.chunkLimit] = NO_LIMIT;
  let wordCount = 0;
  const sentinel = pool + Pool.blocks;
  for (let node = ringNext(words, sentinel, 4); node !== sentinel; node = ringNext(state.words, node, 4)) {
    forgetDirty(state.words, node - Block.inPool);
    listRunsOf(state, node - Block.inPool);
    wordCount += words[node - Block.inPool + Block.capacity]! >>> 5;
  }
  giveSpareChunks(state, pool);
  // So before the next time at least as many entries are made as now, and one more for each eight words looked at now.
  state.words[pool + Pool.chunkLimit] =
    2 * state.words[pool + Pool.chunkCount]! + LEAST_CHUNK_LIMIT + (wordCount >>> 9);
}

function listRunsOf(state: State, block: number): void {
  checkExtent(state.words, block);
  const tail = state.words[block + Block.tail]!;
  const records = state.words[block + Block.records]!;
  for (let word = 0; word << 5 < tail; word++) {
    listRunsBeginningIn(state, block, word, state.words[records + (word << 1) - Size.record]! >>> 31);
  }
}

function giveSpareChunks(state: State, pool: number): void {
  const words = state.words;
  let left = mostChunks(words);
  for (let chunk = words[pool + Pool.spareChunks]!; chunk !== 0;) {
    if (--left < 0) endless();
    const next = words[chunk]!;
    state.arena.give(chunk, 1);
    words[pool + Pool.chunkCount] = words[pool + Pool.chunkCount]! - 1;
    chunk = next;
  }
  words[pool + Pool.spareChunks] = 0;
}

function endless(): never {
  broken(12, "a list of free runs has no end");
}

/** The granule of a block that a place names; negative where the place lies before the block's records. */
export function granuleOfPlace(words: Int32Array, block: number, place: number): number {
  return place - (words[block + Block.records]! << Place.shift);
}

/** The first class from `fromClass` up whose list is not empty; -1, or `Classes.count` or more, where there is none. */
export function firstClassFrom(words: Int32Array, pool: number, fromClass: number): number {
  let group = fromClass >>> 5;
  let bits = words[pool + Pool.classBits + group]! & (-1 << (fromClass & 31));
  while (bits === 0) {
    group += 1;
    if (group >= Classes.count >>> 5) return -1;
    bits = words[pool + Pool.classBits + group]!;
  }
  return (group << 5) + lowestBit(bits);
}
