/**
 * `node dist/bench/recording-child.js`: what a recording costs, in a process of its own; prints JSON, an object of nanoseconds
 * by name. `bench/micro.ts` runs it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { JitAllocator, JitRuntime } from "../src/index.ts";
import { leastOfTurns } from "./least-of-turns.ts";

const CALLS = 10_000;
const CHUNKS = 60;
/** Recorded operations take longer, and files grow. */
const RECORDED_CALLS = 1000;
const RECORDED_CHUNKS = 30;

const code = new Uint8Array(150);

/** An allocator with something live, so that no block goes empty: to map one again would be another measurement. */
function makeAllocator(): JitAllocator {
  const allocator = new JitAllocator({ blockSize: 1 << 20 });
  allocator.alloc(64);
  return allocator;
}

/** Makes `calls` allocations, and releases each. */
function churn(allocator: JitAllocator, calls: number): () => void {
  return () => {
    for (let i = 0; i < calls; i++) allocator.release(allocator.allocAddress(100 + (i & 255)));
  };
}

/** Adds code `calls` times, and releases it. */
function add(allocator: JitAllocator, calls: number): () => void {
  const runtime = new JitRuntime({ allocator });
  return () => {
    for (let i = 0; i < calls; i++) runtime.release(runtime.add(code));
  };
}

const recordedBefore = makeAllocator();
recordedBefore.record({ write: () => undefined })[Symbol.dispose]();
const off = leastOfTurns(
  { never: churn(makeAllocator(), CALLS), before: churn(recordedBefore, CALLS) },
  CALLS,
  CHUNKS,
);

const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-bench-"));
try {
  const kinds = {
    nobody: makeAllocator(),
    sink: makeAllocator(),
    packed: makeAllocator(),
    text: makeAllocator(),
  };
  kinds.sink.record({ write: () => undefined });
  kinds.packed.record(path.join(folder, "trace.gz"));
  kinds.text.record(path.join(folder, "trace"));
  const on = leastOfTurns(
    {
      nobody: add(kinds.nobody, RECORDED_CALLS),
      sink: add(kinds.sink, RECORDED_CALLS),
      packed: add(kinds.packed, RECORDED_CALLS),
      text: add(kinds.text, RECORDED_CALLS),
    },
    RECORDED_CALLS,
    RECORDED_CHUNKS,
  );
  process.stdout.write(
    `${JSON.stringify({
      "alloc and release, never recorded": off.never,
      "alloc and release, recorded before": off.before,
      "runtime.add of 150 B, and release": on.nobody,
      "the same, recorded into a sink of the program": on.sink,
      "the same, recorded into gzip": on.packed,
      "the same, recorded into text": on.text,
    })}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
