/**
 * The red-black tree of all mapped blocks, keyed by rx, inside the shared buffer.
 * Nodes are the blocks themselves; 0 is the (black) leaf.
 */
import { broken } from "./broken.ts";
import { Block, Header } from "./layout.ts";

/** More nodes than any path of the tree has: even if each of the 2**21 units were a block, a path would have 42. */
const LONGEST_PATH = 64;

/** The block that holds `address`, or 0. */
export function treeFind(words: Int32Array, doubles: Float64Array, address: number): number {
  let node = words[Header.treeRoot]!;
  for (let depth = 0; node !== 0; depth++) {
    if (depth === LONGEST_PATH) endless();
    const offset = address - doubles[(node >> 1) + Block.rx]!;
    if (offset < 0) node = words[node + Block.left]!;
    else if (offset < doubles[(node >> 1) + Block.size]!) return node;
    else node = words[node + Block.right]!;
  }
  return 0;
}

/** The block with the lowest address, or 0. */
export function treeFirst(words: Int32Array): number {
  const root = words[Header.treeRoot]!;
  return root === 0 ? 0 : leftmost(words, root);
}

/** The block with the highest address, or 0. */
export function treeLast(words: Int32Array): number {
  let node = words[Header.treeRoot]!;
  for (let depth = 0, right = node && words[node + Block.right]!; right !== 0; depth++) {
    if (depth === LONGEST_PATH) endless();
    node = right;
    right = words[node + Block.right]!;
  }
  return node;
}

/** The block after `node` in the order of addresses, or 0. Checks that addresses rise, so a walk from the first one ends. */
export function treeNext(words: Int32Array, doubles: Float64Array, node: number): number {
  const right = words[node + Block.right]!;
  const next = right === 0 ? parentToTheRight(words, node) : leftmost(words, right);
  const isBehind = doubles[(next >> 1) + Block.rx]! > doubles[(node >> 1) + Block.rx]!;
  if (next !== 0 && !isBehind) broken(3, "the tree of blocks is not in the order of their addresses");
  return next;
}

/** The nearest ancestor with `node` in its left subtree, or 0. A cycle ends at `node`, which has no right child. */
function parentToTheRight(words: Int32Array, node: number): number {
  let child = node;
  let parent = words[node + Block.parent]!;
  while (parent !== 0 && words[parent + Block.right] === child) {
    child = parent;
    parent = words[parent + Block.parent]!;
  }
  return parent;
}

function leftmost(words: Int32Array, top: number): number {
  let node = top;
  for (let depth = 0, left = words[node + Block.left]!; left !== 0; depth++) {
    if (depth === LONGEST_PATH) endless();
    node = left;
    left = words[node + Block.left]!;
  }
  return node;
}

function endless(): never {
  broken(2, "a path of the tree of blocks has no end");
}

/** Adds a block whose range overlaps no other's. */
export function treeInsert(words: Int32Array, doubles: Float64Array, node: number): void {
  const key = doubles[(node >> 1) + Block.rx]!;
  let parent = 0;
  let side = Block.left;
  for (let depth = 0, place = words[Header.treeRoot]!; place !== 0; depth++, place = words[place + side]!) {
    if (depth === LONGEST_PATH) endless();
    parent = place;
    side = key < doubles[(place >> 1) + Block.rx]! ? Block.left : Block.right;
  }
  words[node + Block.left] = 0;
  words[node + Block.right] = 0;
  words[node + Block.parent] = parent;
  words[node + Block.red] = 1;
  if (parent === 0) words[Header.treeRoot] = node;
  else words[parent + side] = node;
  mendRedPair(words, node);
}

/** `node` is red and may have a red parent: recolour upwards, and rotate at most twice. */
function mendRedPair(words: Int32Array, start: number): void {
  let node = start;
  let parent = words[node + Block.parent]!;
  for (let height = 0; parent !== 0 && words[parent + Block.red] === 1; height++) {
    if (height === LONGEST_PATH) endless();
    const grandparent = words[parent + Block.parent]!; // exists: the root is black
    const side = words[grandparent + Block.left] === parent ? Block.left : Block.right;
    const uncle = words[grandparent + opposite(side)]!;
    if (uncle !== 0 && words[uncle + Block.red] === 1) {
      words[parent + Block.red] = 0;
      words[uncle + Block.red] = 0;
      words[grandparent + Block.red] = 1;
      node = grandparent;
      parent = words[node + Block.parent]!;
      continue;
    }
    if (words[parent + side] !== node) {
      rotate(words, parent, side);
      parent = node;
    }
    words[parent + Block.red] = 0;
    words[grandparent + Block.red] = 1;
    rotate(words, grandparent, opposite(side));
    break;
  }
  words[words[Header.treeRoot]! + Block.red] = 0;
}

/** Removes a block. */
export function treeRemove(words: Int32Array, node: number): void {
  const left = words[node + Block.left]!;
  const right = words[node + Block.right]!;
  let removedRed = words[node + Block.red]!;
  let child: number; // takes the vacated position; may be the leaf 0,
  let parent: number; // so its parent is kept beside it
  if (left === 0 || right === 0) {
    child = left === 0 ? right : left;
    parent = words[node + Block.parent]!;
    replace(words, node, child);
  } else {
    const heir = leftmost(words, right);
    removedRed = words[heir + Block.red]!;
    child = words[heir + Block.right]!;
    parent = words[heir + Block.parent]!;
    if (parent === node) {
      parent = heir;
    } else {
      replace(words, heir, child);
      words[heir + Block.right] = right;
      words[right + Block.parent] = heir;
    }
    replace(words, node, heir);
    words[heir + Block.left] = left;
    words[left + Block.parent] = heir;
    words[heir + Block.red] = words[node + Block.red]!;
  }
  if (removedRed === 0) mendMissingBlack(words, child, parent);
}

/** The paths through `start` (child of `startParent`, perhaps the leaf 0) are one black node short. */
function mendMissingBlack(words: Int32Array, start: number, startParent: number): void {
  let node = start;
  let parent = startParent;
  for (let height = 0; parent !== 0 && (node === 0 || words[node + Block.red] === 0); height++) {
    if (height === LONGEST_PATH) endless();
    const side = words[parent + Block.left] === node ? Block.left : Block.right;
    const far = opposite(side);
    let sibling = words[parent + far]!; // exists: its side has at least one black node more
    if (words[sibling + Block.red] === 1) {
      words[sibling + Block.red] = 0;
      words[parent + Block.red] = 1;
      rotate(words, parent, side);
      sibling = words[parent + far]!;
    }
    const near = words[sibling + side]!;
    const outer = words[sibling + far]!;
    const nearRed = near !== 0 && words[near + Block.red] === 1;
    const outerRed = outer !== 0 && words[outer + Block.red] === 1;
    if (!nearRed && !outerRed) {
      words[sibling + Block.red] = 1;
      node = parent;
      parent = words[node + Block.parent]!;
      continue;
    }
    if (!outerRed) {
      words[near + Block.red] = 0;
      words[sibling + Block.red] = 1;
      rotate(words, sibling, far);
      sibling = near;
    }
    words[sibling + Block.red] = words[parent + Block.red]!;
    words[parent + Block.red] = 0;
    words[words[sibling + far]! + Block.red] = 0;
    rotate(words, parent, side);
    return;
  }
  if (node !== 0) words[node + Block.red] = 0;
}

/** Moves `node` down to `side`; its child on the other side takes its place. */
function rotate(words: Int32Array, node: number, side: number): void {
  const far = opposite(side);
  const rising = words[node + far]!;
  const between = words[rising + side]!;
  words[node + far] = between;
  if (between !== 0) words[between + Block.parent] = node;
  replace(words, node, rising);
  words[rising + side] = node;
  words[node + Block.parent] = rising;
}

/** Puts `heir` (perhaps 0) in the place of `node` below its parent. */
function replace(words: Int32Array, node: number, heir: number): void {
  const parent = words[node + Block.parent]!;
  if (parent === 0) words[Header.treeRoot] = heir;
  else if (words[parent + Block.left] === node) words[parent + Block.left] = heir;
  else words[parent + Block.right] = heir;
  if (heir !== 0) words[heir + Block.parent] = parent;
}

function opposite(side: number): number {
  return Block.left + Block.right - side;
}
