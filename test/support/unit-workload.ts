/** asmjit's own unit test: the phases of its workload, for whoever is to be put through it. */
import { Random } from "./random.ts";

/** What the workload is done on. Slots number the allocations from 0. */
export interface UnitSubject {
  alloc(slot: number, sizeBytes: number): void;
  release(slot: number): void;
  shrink(slot: number, newSizeBytes: number): void;
  query(slot: number): void;
  /** The end of a phase: whatever is to be checked now and then. */
  phase(name: string): void;
}

/** The sizes of asmjit's test: 8 to 1031 bytes. */
function randomSize(random: Random): number {
  return random.between(8, 1031);
}

/** Runs the whole workload with `count` allocations a phase. Ends with nothing live. */
export function runUnitWorkload(subject: UnitSubject, count: number, seed: number): void {
  const random = new Random(seed);
  const slots = Array.from({ length: count }, (_, slot) => slot);
  const half = count >>> 1;

  const allocateAll = (): void => {
    for (const slot of slots) subject.alloc(slot, randomSize(random));
  };

  allocateAll();
  subject.phase("allocate");
  for (const slot of slots) subject.query(slot);
  subject.phase("query");
  for (const slot of slots) subject.release(slot);
  subject.phase("release from the start");

  allocateAll();
  subject.phase("allocate again");
  random.shuffle(slots);
  for (const slot of slots.slice(0, half)) subject.release(slot);
  subject.phase("release half, shuffled");
  for (const slot of slots.slice(0, half)) subject.alloc(slot, randomSize(random));
  subject.phase("refill half");
  for (const slot of slots.toReversed()) subject.release(slot);
  subject.phase("release from the end");

  for (const slot of slots) subject.alloc(slot, 256);
  for (const slot of slots) subject.shrink(slot, 1);
  subject.phase("shrink 256 B to 1");
  for (let slot = count; slot < 2 * count; slot++) subject.alloc(slot, 64);
  subject.phase("refill with 64 B");
  for (let slot = 0; slot < 2 * count; slot++) subject.release(slot);
  subject.phase("release both");

  for (const slot of slots) subject.alloc(slot, 256);
  random.shuffle(slots);
  for (const slot of slots.slice(0, half)) subject.release(slot);
  subject.phase("256 B, release half, shuffled");
  for (const slot of slots.slice(0, half)) subject.alloc(slot, 256);
  subject.phase("refill 256 B");
  for (const slot of slots) subject.release(slot);
  subject.phase("release 256 B");
}
