/** The size classes of free runs, by their length in granules. */

/** Runs of 1 to 32 granules have a class each (0 to 31, the last shared with 33 to 39); longer ones, four per octave. */
const EXACT_CLASSES = 32;

/** The highest class whose shortest run has at most `length` granules: the class of a run of that length. */
export function classOfRun(length: number): number {
  if (length <= EXACT_CLASSES) return length - 1;
  const octave = 31 - Math.clz32(length);
  return EXACT_CLASSES - 1 + ((octave - 5) << 2) + ((length >>> (octave - 2)) & 3);
}

/** The lowest class in which every run has at least `length` granules. */
export function classThatHolds(length: number): number {
  if (length <= EXACT_CLASSES) return length - 1;
  const octave = 31 - Math.clz32(length);
  return classOfRun(length + (1 << (octave - 2)) - 1);
}
