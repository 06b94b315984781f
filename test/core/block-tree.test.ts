/** The tree of blocks against a sorted array, and against the rules of red-black trees after every change. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { treeFind, treeFirst, treeInsert, treeNext, treeRemove } from "../../src/core/block-tree.ts";
import { Block, Header, Size } from "../../src/core/layout.ts";
import { Random } from "../support/random.ts";

const SEED = 20260402;
const SMALLEST = 65_536;

/** A tree over nodes in a buffer of its own, and the sorted list of what should be in it. */
class Forest {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #unused: number[] = [];
  /** Nodes in the order of their addresses. */
  readonly sorted: number[] = [];

  constructor(nodeCount: number) {
    const buffer = new SharedArrayBuffer((Size.header + nodeCount * Size.block) * 4);
    this.#words = new Int32Array(buffer);
    this.#doubles = new Float64Array(buffer);
    for (let index = 0; index < nodeCount; index++) this.#unused.push(Size.header + index * Size.block);
  }

  field(node: number, field: number): number {
    return this.#words[node + field] ?? Number.NaN;
  }

  rx(node: number): number {
    return this.#doubles[(node >> 1) + Block.rx] ?? Number.NaN;
  }

  size(node: number): number {
    return this.#doubles[(node >> 1) + Block.size] ?? Number.NaN;
  }

  /** Inserts a block; false where it would overlap another. */
  insert(rx: number, size: number): boolean {
    const after = this.sorted.findIndex((node) => this.rx(node) >= rx);
    const place = after < 0 ? this.sorted.length : after;
    const before = this.sorted[place - 1];
    const next = this.sorted[place];
    if (before !== undefined && this.rx(before) + this.size(before) > rx) return false;
    if (next !== undefined && this.rx(next) < rx + size) return false;
    const node = this.#unused.pop();
    assert.ok(node !== undefined);
    this.#doubles[(node >> 1) + Block.rx] = rx;
    this.#doubles[(node >> 1) + Block.size] = size;
    treeInsert(this.#words, this.#doubles, node);
    this.sorted.splice(place, 0, node);
    return true;
  }

  remove(index: number): void {
    const [node] = this.sorted.splice(index, 1);
    assert.ok(node !== undefined);
    treeRemove(this.#words, node);
    // What a node leaves behind must not matter to the one that takes its place in the buffer.
    this.#words.fill(-1, node, node + Size.block);
    this.#unused.unshift(node);
  }

  find(address: number): number {
    return treeFind(this.#words, this.#doubles, address);
  }

  walk(): number[] {
    const nodes: number[] = [];
    for (let node = treeFirst(this.#words); node !== 0; node = treeNext(this.#words, this.#doubles, node))
      nodes.push(node);
    return nodes;
  }

  /** Red-black: a black root, no red child of a red node, as many black nodes on every path; and parents that fit. */
  check(): void {
    const root = this.field(0, Header.treeRoot);
    if (root !== 0) {
      assert.equal(this.field(root, Block.red), 0, "the root is black");
      assert.equal(this.field(root, Block.parent), 0, "the root has no parent");
    }
    this.#blackHeight(root);
    assert.deepEqual(this.walk(), this.sorted, "in order, and complete");
  }

  #blackHeight(node: number): number {
    if (node === 0) return 1;
    const isRed = this.field(node, Block.red) === 1;
    const heights = [Block.left, Block.right].map((side) => {
      const child = this.field(node, side);
      if (child !== 0) {
        assert.equal(this.field(child, Block.parent), node, "a child knows its parent");
        assert.ok(!isRed || this.field(child, Block.red) === 0, "a red node has black children");
      }
      return this.#blackHeight(child);
    });
    assert.equal(heights[0], heights[1], "every path has as many black nodes");
    return (heights[0] ?? 0) + (isRed ? 0 : 1);
  }

  /** Both ends of every block, and what lies right outside. */
  checkFind(): void {
    for (const [index, node] of this.sorted.entries()) {
      const rx = this.rx(node);
      const end = rx + this.size(node);
      assert.equal(this.find(rx), node);
      assert.equal(this.find(end - 1), node);
      const before = this.sorted[index - 1];
      const touches = before !== undefined && this.rx(before) + this.size(before) === rx;
      assert.equal(this.find(rx - 1), touches ? before : 0);
      const next = this.sorted[index + 1];
      assert.equal(this.find(end), next !== undefined && this.rx(next) === end ? next : 0);
    }
  }
}

describe("the tree of blocks", () => {
  test("an empty tree holds nothing", () => {
    const forest = new Forest(1);
    assert.equal(forest.find(SMALLEST), 0);
    assert.deepEqual(forest.walk(), []);
  });

  for (const [name, key] of [
    ["ascending", (index: number) => index + 1],
    ["descending", (index: number) => 300 - index],
    ["from both ends", (index: number) => (index % 2 === 0 ? index / 2 + 1 : 300 - (index - 1) / 2)],
  ] as const) {
    test(`${name} addresses, then removed in every order of ends`, () => {
      for (const fromFront of [true, false]) {
        const forest = new Forest(300);
        for (let index = 0; index < 300; index++) {
          assert.ok(forest.insert(key(index) * SMALLEST, SMALLEST));
          forest.check();
        }
        forest.checkFind();
        while (forest.sorted.length > 0) {
          forest.remove(fromFront ? 0 : forest.sorted.length - 1);
          forest.check();
        }
      }
    });
  }

  test(`thousands of random insertions and removals (seed ${SEED})`, () => {
    const random = new Random(SEED);
    const forest = new Forest(600);
    let inserted = 0;
    let removed = 0;
    // The tree swells and shrinks: growing phases insert four times in five, the others remove.
    for (let step = 0; step < 6000; step++) {
      const grows = Math.floor(step / 500) % 2 === 0;
      const inserts =
        forest.sorted.length === 0 || (forest.sorted.length < 600 && random.chance(grows ? 0.8 : 0.2));
      if (inserts) {
        // Above 2**32, as addresses are; few enough places that blocks touch, and are refused where they overlap.
        const rx = 0x7f00_0000_0000 + random.below(4000) * SMALLEST;
        if (forest.insert(rx, random.between(1, 3) * SMALLEST)) inserted++;
      } else {
        forest.remove(random.below(forest.sorted.length));
        removed++;
      }
      forest.check();
      if (step % 50 === 0) forest.checkFind();
    }
    assert.ok(inserted > 2000 && removed > 2000, `${inserted} in, ${removed} out`);
  });
});
