/**
 * Circular doubly linked lists inside the shared buffer.
 * A sentinel stands for its ring. Nodes are indices, with links at Link.next and Link.prev. Link.next is 0 in no ring.
 */
import { assert } from "../base/assert.ts";
import { broken } from "./broken.ts";
import { Link } from "./layout.ts";

export function ringInit(words: Int32Array, sentinel: number): void {
  words[sentinel + Link.next] = sentinel;
  words[sentinel + Link.prev] = sentinel;
}

/**
 * Returns the node behind a node, or behind the sentinel. Checks that the link leads back: then no node is reached from two
 * others, so that a walk comes to the sentinel again. Checks that the node is in a ring: then a walk that removes nodes
 * ends too.
 * @param invariant the number of the invariant to report where a check fails
 */
export function ringNext(words: Int32Array, node: number, invariant: number): number {
  const next = words[node + Link.next]!;
  if (words[next + Link.prev] !== node || words[next + Link.next] === 0) broken(invariant, "a ring is torn");
  return next;
}

/** Puts `node` right behind `place`, which is the sentinel or a node of the ring. */
export function ringInsert(words: Int32Array, place: number, node: number): void {
  const next = words[place + Link.next]!;
  assert(words[next + Link.prev] === place, 4, "the link behind a node does not lead back to it");
  words[node + Link.next] = next;
  words[node + Link.prev] = place;
  words[next + Link.prev] = node;
  words[place + Link.next] = node;
}

/** Takes `node` out of its ring. Returns true where only the sentinel is left. */
export function ringRemove(words: Int32Array, node: number): boolean {
  const next = words[node + Link.next]!;
  const prev = words[node + Link.prev]!;
  assert(
    words[prev + Link.next] === node && words[next + Link.prev] === node,
    4,
    "a node is not in its ring",
  );
  words[prev + Link.next] = next;
  words[next + Link.prev] = prev;
  words[node + Link.next] = 0;
  return next === prev;
}
