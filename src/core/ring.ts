/**
 * Circular doubly linked lists inside the shared buffer.
 * A ring is its sentinel; nodes are indices whose links stand at Link.next and Link.prev. A node in no ring has Link.next 0.
 */
import { assert } from "../base/assert.ts";
import { broken } from "./broken.ts";
import { Link } from "./layout.ts";

export function ringInit(words: Int32Array, sentinel: number): void {
  words[sentinel + Link.next] = sentinel;
  words[sentinel + Link.prev] = sentinel;
}

/**
 * What comes behind a node, or behind the sentinel. As each link leads back, a walk comes to the sentinel again: no node
 * can be entered from two others. Nor does one that takes out what it meets go on for ever: what is in no ring says so.
 * @param invariant the one that is broken where a link does not
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
