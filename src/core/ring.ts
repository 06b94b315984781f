/**
 * Circular doubly linked lists inside the shared buffer.
 * A ring is its sentinel; nodes are indices whose links stand at NEXT and PREV. A node in no ring has NEXT 0.
 */
import { NEXT, PREV } from "./layout.ts";

export function ringInit(words: Int32Array, sentinel: number): void {
  words[sentinel + NEXT] = sentinel;
  words[sentinel + PREV] = sentinel;
}

/** Puts `node` right behind `place`, which is the sentinel or a node of the ring. */
export function ringInsert(words: Int32Array, place: number, node: number): void {
  const next = words[place + NEXT]!;
  words[node + NEXT] = next;
  words[node + PREV] = place;
  words[next + PREV] = node;
  words[place + NEXT] = node;
}

/** Takes `node` out of its ring. Returns true where only the sentinel is left. */
export function ringRemove(words: Int32Array, node: number): boolean {
  const next = words[node + NEXT]!;
  const prev = words[node + PREV]!;
  words[prev + NEXT] = next;
  words[next + PREV] = prev;
  words[node + NEXT] = 0;
  return next === prev;
}
