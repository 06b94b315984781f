/**
 * The look-up of blocks by address: a table with an entry for each frame of addresses, which names a block that lies there.
 * Addresses that are a whole table apart share an entry, so that no base needs to be subtracted: the place of an address
 * is a shift and a mask, and its block one load.
 *
 * In a range, frames have 64 KiB, no two blocks share one, and the table is as long as the stretch from the first block to
 * the last: it is *exact*, every address of a block leads to it. It grows with that stretch, by 4 bytes for each 64 KiB.
 *
 * Elsewhere blocks lie anywhere. The table then keeps its size, its frames are enlarged with what is mapped, and entries
 * are hints: where several blocks share a frame, all but one are looked up in the tree.
 */
import { treeFirst, treeLast, treeNext } from "./block-tree.ts";
import { broken } from "./broken.ts";
import { Block, Header, Lookup, Unit } from "./layout.ts";
import { layOutLookUp } from "./state.ts";
import type { State } from "./state.ts";

/** Bytes of the smallest frame, and of the smallest block. */
const FRAME_BYTES = 2 ** Lookup.leastShift;

/** The most entries: an address is shifted as an integer of 32 bits, which tells so many frames apart. */
const MOST_ENTRIES = 2 ** (32 - Lookup.leastShift);

/**
 * An exact table has an entry for each of these bytes of blocks, or it is not made: 0.1 % of them. In a range gaps are
 * used first, so that far fewer are needed.
 */
const LEAST_BYTES_PER_ENTRY = 4096;

/** The block that the look-up names for an address: mostly the one that holds it, else another block, or index 0. */
export function lookUp(words: Int32Array, address: number): number {
  return words[
    words[Header.lookup]! + ((address >>> words[Header.frameShift]!) & words[Header.lookupMask]!)
  ]!;
}

/** Lengthens the table for a block that is about to be entered, if that keeps it exact and there is room. */
export function growLookUp(state: State, rx: number, sizeBytes: number): void {
  const { words, doubles } = state;
  if (words[Header.isExact] === 0 || !isAligned(rx, sizeBytes)) return;
  const first = treeFirst(words);
  const start = first === 0 ? rx : Math.min(rx, doubles[(first >> 1) + Block.rx]!);
  const end = Math.max(rx + sizeBytes, endOf(words, doubles));
  lengthen(state, end - start, doubles[Header.reservedSize]! + sizeBytes);
}

/** Enters a block that is in the tree. */
export function enterInLookUp(words: Int32Array, doubles: Float64Array, block: number): void {
  checkTable(words);
  if (words[Header.isExact] !== 0) {
    if (isExactWith(words, doubles, block)) {
      fillFrames(words, doubles, block, block);
      return;
    }
    words[Header.isExact] = 0;
  }
  fitFrames(words, doubles[Header.reservedSize]!);
}

/** Forgets a block that is no longer in the tree. */
export function leaveLookUp(state: State, block: number): void {
  const { words, doubles } = state;
  checkTable(words);
  if (words[Header.treeRoot] === 0) {
    giveTable(state);
    layOutLookUp(state.words);
  } else if (words[Header.isExact] !== 0) {
    fillFrames(words, doubles, block, 0);
  } else {
    clearLookUp(words);
  }
}

/** Makes the table exact, where it can be: a repair enters blocks in the shortest table. */
export function restoreLookUp(state: State): void {
  const { words, doubles } = state;
  let first = treeFirst(words);
  if (first === 0 || words[Header.isExact] !== 0) return;
  const start = doubles[(first >> 1) + Block.rx]!;
  for (; first !== 0; first = treeNext(words, doubles, first)) {
    if (!isAligned(doubles[(first >> 1) + Block.rx]!, doubles[(first >> 1) + Block.size]!)) return;
  }
  lengthen(state, endOf(words, doubles) - start, doubles[Header.reservedSize]!);
}

/** Clears the table; the tree still knows all blocks and fills it again. */
function clearLookUp(words: Int32Array): void {
  const table = words[Header.lookup]!;
  words.fill(0, table, table + words[Header.lookupMask]! + 1);
}

/** Gives the table a length that makes it exact for blocks that lie in `sizeBytes`, if it is worth that, and fills it. */
function lengthen(state: State, sizeBytes: number, reservedBytes: number): void {
  const length = 2 ** Math.ceil(Math.log2(sizeBytes / FRAME_BYTES));
  if (length <= state.words[Header.lookupMask]! + 1 || length > MOST_ENTRIES) return;
  if (length * LEAST_BYTES_PER_ENTRY > reservedBytes) return;
  const table = state.takeUnits(length >> Unit.shift, false);
  if (table === 0) return; // hints will do
  giveTable(state);
  const { words, doubles } = state;
  words[Header.lookup] = table;
  words[Header.lookupMask] = length - 1;
  words[Header.frameShift] = Lookup.leastShift;
  words[Header.isExact] = 1;
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, doubles, block)) {
    fillFrames(words, doubles, block, block);
  }
}

/** Gives the chunk of the table back, if it is not in the fixed part. */
function giveTable(state: State): void {
  const table = state.words[Header.lookup]!;
  if (table !== Lookup.start) state.arena.give(table, lookUpUnits(state.words));
}

/** The units of a table that is not in the fixed part. */
export function lookUpUnits(words: Int32Array): number {
  return (words[Header.lookupMask]! + 1) >> Unit.shift;
}

function isAligned(rx: number, sizeBytes: number): boolean {
  return rx % FRAME_BYTES === 0 && sizeBytes % FRAME_BYTES === 0;
}

function endOf(words: Int32Array, doubles: Float64Array): number {
  const last = treeLast(words);
  return last === 0 ? 0 : doubles[(last >> 1) + Block.rx]! + doubles[(last >> 1) + Block.size]!;
}

/** Whether the table stays exact with a block that is in the tree and not entered yet. */
function isExactWith(words: Int32Array, doubles: Float64Array, block: number): boolean {
  const start = doubles[(treeFirst(words) >> 1) + Block.rx]!;
  const window = (words[Header.lookupMask]! + 1) * FRAME_BYTES;
  return (
    endOf(words, doubles) - start <= window &&
    isAligned(doubles[(block >> 1) + Block.rx]!, doubles[(block >> 1) + Block.size]!)
  );
}

function fillFrames(words: Int32Array, doubles: Float64Array, block: number, value: number): void {
  const table = words[Header.lookup]!;
  const mask = words[Header.lookupMask]!;
  const first = doubles[(block >> 1) + Block.rx]! >>> Lookup.leastShift;
  const count = Math.min(doubles[(block >> 1) + Block.size]! / FRAME_BYTES, mask + 1);
  for (let frame = 0; frame < count; frame++) words[table + ((first + frame) & mask)] = value;
}

/** Enlarges the frames until they cover twice `reservedSize` bytes: blocks side by side, mapped twice. */
function fitFrames(words: Int32Array, reservedSize: number): void {
  const before = words[Header.frameShift]!;
  let shift = before;
  while ((words[Header.lookupMask]! + 1) * 2 ** shift < 2 * reservedSize) shift += 1;
  if (shift === before) return;
  words[Header.frameShift] = shift;
  clearLookUp(words);
}

/** @throws Error where the header does not name a table */
function checkTable(words: Int32Array): void {
  const shift = words[Header.frameShift]!;
  const table = words[Header.lookup]!;
  const length = words[Header.lookupMask]! + 1;
  if (shift < Lookup.leastShift) broken(1, `frames of 2**${shift} bytes`);
  const isTable = length >= Lookup.entries && length <= MOST_ENTRIES && (length & (length - 1)) === 0;
  if (!isTable || table < Lookup.start || table + length > words.length)
    broken(1, `a look-up of ${length} entries at ${table}`);
}

/** Holds the look-up and the tree against each other. @throws Error where they differ */
export function verifyLookUp(words: Int32Array, doubles: Float64Array): void {
  checkTable(words);
  const blocks = new Set<number>([0]);
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, doubles, block)) {
    blocks.add(block);
    if (words[Header.isExact] === 0) continue;
    const rx = doubles[(block >> 1) + Block.rx]!;
    const end = rx + doubles[(block >> 1) + Block.size]!;
    for (let address = rx; address < end; address += FRAME_BYTES) {
      if (lookUp(words, address) !== block) broken(21, `the look-up does not name the block at ${address}`);
    }
  }
  const table = words[Header.lookup]!;
  for (let entry = table; entry <= table + words[Header.lookupMask]!; entry++) {
    if (!blocks.has(words[entry]!)) broken(21, `the look-up names ${words[entry]!}, which is no block`);
  }
}
