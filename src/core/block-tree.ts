/**
 * The red-black tree of all mapped blocks, keyed by rx, inside the shared buffer.
 * Nodes are the blocks themselves; 0 is the (black) leaf.
 */
import {
  BLOCK_LEFT,
  BLOCK_PARENT,
  BLOCK_RED,
  BLOCK_RIGHT,
  BLOCK_RX,
  BLOCK_SIZE,
  HEADER_TREE_ROOT,
} from "./layout.ts";

/** The block that holds `address`, or 0. */
export function treeFind(words: Int32Array, doubles: Float64Array, address: number): number {
  let node = words[HEADER_TREE_ROOT]!;
  while (node !== 0) {
    const offset = address - doubles[(node >> 1) + BLOCK_RX]!;
    if (offset < 0) node = words[node + BLOCK_LEFT]!;
    else if (offset < doubles[(node >> 1) + BLOCK_SIZE]!) return node;
    else node = words[node + BLOCK_RIGHT]!;
  }
  return 0;
}

/** The block with the lowest address, or 0. */
export function treeFirst(words: Int32Array): number {
  const root = words[HEADER_TREE_ROOT]!;
  return root === 0 ? 0 : leftmost(words, root);
}

/** The block that follows `node` in the order of addresses, or 0. */
export function treeNext(words: Int32Array, node: number): number {
  const right = words[node + BLOCK_RIGHT]!;
  if (right !== 0) return leftmost(words, right);
  let child = node;
  let parent = words[node + BLOCK_PARENT]!;
  while (parent !== 0 && words[parent + BLOCK_RIGHT] === child) {
    child = parent;
    parent = words[parent + BLOCK_PARENT]!;
  }
  return parent;
}

function leftmost(words: Int32Array, top: number): number {
  let node = top;
  for (let left = words[node + BLOCK_LEFT]!; left !== 0; left = words[node + BLOCK_LEFT]!) node = left;
  return node;
}

/** Adds a block whose range overlaps no other's. */
export function treeInsert(words: Int32Array, doubles: Float64Array, node: number): void {
  const key = doubles[(node >> 1) + BLOCK_RX]!;
  let parent = 0;
  let side = BLOCK_LEFT;
  for (let place = words[HEADER_TREE_ROOT]!; place !== 0; place = words[place + side]!) {
    parent = place;
    side = key < doubles[(place >> 1) + BLOCK_RX]! ? BLOCK_LEFT : BLOCK_RIGHT;
  }
  words[node + BLOCK_LEFT] = 0;
  words[node + BLOCK_RIGHT] = 0;
  words[node + BLOCK_PARENT] = parent;
  words[node + BLOCK_RED] = 1;
  if (parent === 0) words[HEADER_TREE_ROOT] = node;
  else words[parent + side] = node;
  mendRedPair(words, node);
}

/** `node` is red and may have a red parent: recolour upwards, and rotate at most twice. */
function mendRedPair(words: Int32Array, start: number): void {
  let node = start;
  let parent = words[node + BLOCK_PARENT]!;
  while (parent !== 0 && words[parent + BLOCK_RED] === 1) {
    const grandparent = words[parent + BLOCK_PARENT]!; // exists: the root is black
    const side = words[grandparent + BLOCK_LEFT] === parent ? BLOCK_LEFT : BLOCK_RIGHT;
    const uncle = words[grandparent + opposite(side)]!;
    if (uncle !== 0 && words[uncle + BLOCK_RED] === 1) {
      words[parent + BLOCK_RED] = 0;
      words[uncle + BLOCK_RED] = 0;
      words[grandparent + BLOCK_RED] = 1;
      node = grandparent;
      parent = words[node + BLOCK_PARENT]!;
      continue;
    }
    if (words[parent + side] !== node) {
      rotate(words, parent, side);
      parent = node;
    }
    words[parent + BLOCK_RED] = 0;
    words[grandparent + BLOCK_RED] = 1;
    rotate(words, grandparent, opposite(side));
    break;
  }
  words[words[HEADER_TREE_ROOT]! + BLOCK_RED] = 0;
}

/** Takes a block out. */
export function treeRemove(words: Int32Array, node: number): void {
  const left = words[node + BLOCK_LEFT]!;
  const right = words[node + BLOCK_RIGHT]!;
  let removedRed = words[node + BLOCK_RED]!;
  let child: number; // takes the place of the node that left its position; may be 0,
  let parent: number; // so its parent is kept beside it
  if (left === 0 || right === 0) {
    child = left === 0 ? right : left;
    parent = words[node + BLOCK_PARENT]!;
    replace(words, node, child);
  } else {
    const heir = leftmost(words, right);
    removedRed = words[heir + BLOCK_RED]!;
    child = words[heir + BLOCK_RIGHT]!;
    parent = words[heir + BLOCK_PARENT]!;
    if (parent === node) {
      parent = heir;
    } else {
      replace(words, heir, child);
      words[heir + BLOCK_RIGHT] = right;
      words[right + BLOCK_PARENT] = heir;
    }
    replace(words, node, heir);
    words[heir + BLOCK_LEFT] = left;
    words[left + BLOCK_PARENT] = heir;
    words[heir + BLOCK_RED] = words[node + BLOCK_RED]!;
  }
  if (removedRed === 0) mendMissingBlack(words, child, parent);
}

/** The paths through `start` (child of `startParent`, perhaps the leaf 0) are one black node short. */
function mendMissingBlack(words: Int32Array, start: number, startParent: number): void {
  let node = start;
  let parent = startParent;
  while (parent !== 0 && (node === 0 || words[node + BLOCK_RED] === 0)) {
    const side = words[parent + BLOCK_LEFT] === node ? BLOCK_LEFT : BLOCK_RIGHT;
    const far = opposite(side);
    let sibling = words[parent + far]!; // exists: its side has at least one black node more
    if (words[sibling + BLOCK_RED] === 1) {
      words[sibling + BLOCK_RED] = 0;
      words[parent + BLOCK_RED] = 1;
      rotate(words, parent, side);
      sibling = words[parent + far]!;
    }
    const near = words[sibling + side]!;
    const outer = words[sibling + far]!;
    const nearRed = near !== 0 && words[near + BLOCK_RED] === 1;
    const outerRed = outer !== 0 && words[outer + BLOCK_RED] === 1;
    if (!nearRed && !outerRed) {
      words[sibling + BLOCK_RED] = 1;
      node = parent;
      parent = words[node + BLOCK_PARENT]!;
      continue;
    }
    if (!outerRed) {
      words[near + BLOCK_RED] = 0;
      words[sibling + BLOCK_RED] = 1;
      rotate(words, sibling, far);
      sibling = near;
    }
    words[sibling + BLOCK_RED] = words[parent + BLOCK_RED]!;
    words[parent + BLOCK_RED] = 0;
    words[words[sibling + far]! + BLOCK_RED] = 0;
    rotate(words, parent, side);
    return;
  }
  if (node !== 0) words[node + BLOCK_RED] = 0;
}

/** Moves `node` down to `side`; its child on the other side takes its place. */
function rotate(words: Int32Array, node: number, side: number): void {
  const far = opposite(side);
  const rising = words[node + far]!;
  const between = words[rising + side]!;
  words[node + far] = between;
  if (between !== 0) words[between + BLOCK_PARENT] = node;
  replace(words, node, rising);
  words[rising + side] = node;
  words[node + BLOCK_PARENT] = rising;
}

/** Hangs `heir` (perhaps 0) where `node` hangs. */
function replace(words: Int32Array, node: number, heir: number): void {
  const parent = words[node + BLOCK_PARENT]!;
  if (parent === 0) words[HEADER_TREE_ROOT] = heir;
  else if (words[parent + BLOCK_LEFT] === node) words[parent + BLOCK_LEFT] = heir;
  else words[parent + BLOCK_RIGHT] = heir;
  if (heir !== 0) words[heir + BLOCK_PARENT] = parent;
}

function opposite(side: number): number {
  return BLOCK_LEFT + BLOCK_RIGHT - side;
}
