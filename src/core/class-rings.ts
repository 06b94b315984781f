/**
 * A ring of records for each class of free runs, and a bit for each ring that is not empty.
 *
 * They are not rings like the others (ring.ts): a record's link to the next one also holds the record's class, so that
 * what is asked most, "is it listed high enough already", is a look at the record alone.
 */
import { lowestBit } from "./bits.ts";
import { Listed, Pool, Word } from "./layout.ts";

export function initClassRing(words: Int32Array, sentinel: number): void {
  words[sentinel + Word.next] = sentinel << 5;
  words[sentinel + Word.prev] = sentinel;
}

/** The sentinel of a class's ring. */
export function ringOfClass(pool: number, runClass: number): number {
  return pool + Pool.classes + (runClass << 2);
}

/** The record, or the sentinel, that comes next. */
export function nextListed(words: Int32Array, record: number): number {
  return (words[record + Word.next]! >>> Listed.classBits) << 2;
}

/** The class a record is listed in, or -1. */
export function classOfListed(words: Int32Array, record: number): number {
  const link = words[record + Word.next]!;
  return link === 0 ? -1 : link & Listed.classMask;
}

/** Puts a record, which is in no ring, behind all others: holes that are used in the order they came fragment less. */
export function listRecord(words: Int32Array, pool: number, record: number, runClass: number): void {
  const sentinel = pool + Pool.classes + (runClass << 2);
  const last = words[sentinel + Word.prev]!;
  words[record + Word.next] = (sentinel << 5) | runClass;
  words[record + Word.prev] = last;
  words[last + Word.next] = (words[last + Word.next]! & Listed.classMask) | (record << 5);
  words[sentinel + Word.prev] = record;
  // Without asking whether they are set: that would be a branch no processor can foresee.
  const group = runClass >>> 5;
  words[pool + Pool.classBits + group] = words[pool + Pool.classBits + group]! | (1 << (runClass & 31));
  words[pool + Pool.classSummary] = words[pool + Pool.classSummary]! | (1 << group);
}

/** Takes a record out of its ring; it is in one. */
export function unlistRecord(words: Int32Array, pool: number, record: number): void {
  const link = words[record + Word.next]!;
  const next = (link >>> Listed.classBits) << 2;
  const prev = words[record + Word.prev]!;
  words[prev + Word.next] = (words[prev + Word.next]! & Listed.classMask) | (next << 5);
  words[next + Word.prev] = prev;
  words[record + Word.next] = 0;
  if (next !== prev) return;
  const runClass = link & Listed.classMask; // only the sentinel is left
  const group = runClass >>> 5;
  const bits = words[pool + Pool.classBits + group]! & ~(1 << (runClass & 31));
  words[pool + Pool.classBits + group] = bits;
  if (bits === 0) words[pool + Pool.classSummary] = words[pool + Pool.classSummary]! & ~(1 << group);
}

/** The first class from `fromClass` up whose ring is not empty, or -1. */
export function firstClassFrom(words: Int32Array, pool: number, fromClass: number): number {
  const group = fromClass >>> 5;
  const bits = words[pool + Pool.classBits + group]! & (-1 << (fromClass & 31));
  if (bits !== 0) return (group << 5) + lowestBit(bits);
  const groups = words[pool + Pool.classSummary]! & (-2 << group);
  if (groups === 0) return -1;
  const first = lowestBit(groups);
  return (first << 5) + lowestBit(words[pool + Pool.classBits + first]!);
}
