/**
 * A worker of the thread tests: a mixed load on a shared allocator, checked by what it wrote. Runs until it is told to
 * stop, or is terminated; reports what it holds then, or the error that it met.
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { JitAllocator, type SharedAllocator, type Span } from "../../../src/index.ts";
import { Random } from "../../support/random.ts";

/** What the worker gets. */
export interface LoadOptions {
  readonly handle: SharedAllocator;
  readonly seed: number;
  /** Operations between two looks at whether to stop. */
  readonly batch: number;
  /** Whether the worker returns to its event loop between two batches, where every runtime can end it. */
  readonly pauses: boolean;
  /** Set to 1 to stop; worker N counts its operations at N + 1, so that whoever terminates knows that it works. */
  readonly control: SharedArrayBuffer;
  readonly index: number;
}

/** What the worker says when it was told to stop. */
export interface LoadReport {
  readonly memberId: number;
  readonly held: readonly { readonly rx: number; readonly size: number; readonly mark: number }[];
}

const { handle, seed, batch, pauses, control, index } = workerData as LoadOptions;
const allocator = JitAllocator.attach(handle);
const flags = new Int32Array(control);
const random = new Random(seed);
const held: { span: Span; mark: number }[] = [];

function check({ span, mark }: { span: Span; mark: number }): void {
  const code = span.read();
  assert.ok(
    code.every((byte) => byte === mark),
    `seed ${seed}: somebody wrote over what is at ${span.rx}`,
  );
}

function step(): void {
  const roll = random.below(100);
  const chosen = held.length === 0 ? undefined : held[random.below(held.length)];
  if (chosen === undefined || (roll < 45 && held.length < 200)) {
    // Mostly small, at times a block of its own: mapped now, unmapped when it goes.
    const size = roll === 0 ? random.between(60_000, 200_000) : random.between(1, 2000);
    const span = allocator.alloc(size);
    const mark = random.between(1, 255);
    span.write(0, new Uint8Array(span.size).fill(mark));
    held.push({ span, mark });
  } else if (roll < 85) {
    check(chosen);
    const last = held.pop();
    if (last !== undefined && last !== chosen) held[held.indexOf(chosen)] = last;
    if (roll % 2 === 0) chosen.span.release();
    else allocator.release(chosen.span.rx);
  } else if (roll < 92) {
    chosen.span.shrink(random.between(1, chosen.span.size));
    check(chosen);
  } else {
    const found = allocator.query(chosen.span.rx + random.below(chosen.span.size));
    assert.deepEqual([found.rx, found.size], [chosen.span.rx, chosen.span.size]);
  }
}

while (Atomics.load(flags, 0) === 0) {
  for (let count = 0; count < batch; count++) step();
  Atomics.add(flags, index + 1, batch);
  if (pauses) await setImmediate();
}
for (const item of held) check(item);
const report: LoadReport = {
  memberId: allocator.memberId,
  held: held.map(({ span, mark }) => ({ rx: span.rx, size: span.size, mark })),
};
parentPort?.postMessage(report);
