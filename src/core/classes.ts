/** The size classes of free runs, by their length in granules. */
import { Classes } from "./layout.ts";

/**
 * Runs of 1 to 32 granules have a class each (0 to 31, the last shared with 33 to 35), longer ones eight an octave, and
 * those from 131,072 granules on (8 MiB of 64 B) the last one. With four an octave, a hole had to be up to a quarter
 * longer than a request to be found at once, and code of many sizes reserved more (docs/performance.md).
 */
const EXACT_CLASSES = 32;

/** The highest class whose shortest run has at most `length` granules: the class of a run of that length. */
export function classOfRun(length: number): number {
  if (length <= EXACT_CLASSES) return length - 1;
  const octave = 31 - Math.clz32(length);
  const runClass = EXACT_CLASSES - 1 + ((octave - 5) << 3) + ((length >>> (octave - 3)) & 7);
  return runClass < Classes.count ? runClass : Classes.count - 1;
}

/** The lowest class in which every run has at least `length` granules; `Classes.count` where there is none. */
export function classThatHolds(length: number): number {
  if (length <= EXACT_CLASSES) return length - 1;
  // The class behind that of the longest run that is too short.
  const octave = 31 - Math.clz32(length - 1);
  const runClass = EXACT_CLASSES + ((octave - 5) << 3) + (((length - 1) >>> (octave - 3)) & 7);
  return runClass < Classes.count ? runClass : Classes.count;
}

/** The length of the shortest run of a class. */
export function leastLengthOf(runClass: number): number {
  if (runClass < EXACT_CLASSES) return runClass + 1;
  const step = runClass - EXACT_CLASSES + 1;
  const octave = 5 + (step >>> 3);
  return 2 ** octave + (step & 7) * 2 ** (octave - 3);
}
