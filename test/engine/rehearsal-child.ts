/**
 * `node dist/test/engine/rehearsal-child.js OPTIONS`: prints which functions of core/ and engine/ random operations call
 * that the making of an allocator with these options has not called, as `{ known: number, missed: ["file: function"] }`.
 */
import { Session, type Profiler } from "node:inspector";
import { JitAllocator, type JitAllocatorOptions, type Span } from "../../src/index.ts";
import { Random } from "../support/random.ts";

const session = new Session();
session.connect();

/** The functions that have been called since the coverage began, by file and name. */
function called(): Set<string> {
  let names: string[] = [];
  session.post("Profiler.takePreciseCoverage", (error, reply: Profiler.TakePreciseCoverageReturnType) => {
    if (error !== null) throw new Error(error.message);
    names = reply.result.flatMap(({ url, functions }) => {
      const file = /\/src\/((?:core|engine)\/.*)$/.exec(url)?.[1];
      if (file === undefined) return [];
      return functions
        .filter(({ ranges }) => ranges.some(({ count }) => count > 0))
        .map(({ functionName }) => `${file}: ${functionName}`);
    });
  });
  return new Set(names);
}

session.post("Profiler.enable");
session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
const random = new Random(20261127);
const allocator = new JitAllocator(JSON.parse(process.argv[2] ?? "{}") as JitAllocatorOptions);
const before = called();
const spans: Span[] = [];
for (let step = 0; step < 20_000; step++) {
  const chosen = random.below(12);
  const index = random.below(spans.length + 1);
  const span = spans[index];
  // The number of live spans goes up and down, so that blocks come and go.
  if (span === undefined || chosen < ((step >> 10) % 2 === 0 ? 7 : 3)) {
    spans.push(allocator.alloc(1 + random.below(chosen === 0 ? 30000 : 3000)));
  } else if (chosen < 9) {
    spans.splice(index, 1);
    allocator.release(chosen === 8 ? allocator.query(span.rx) : chosen === 7 ? span.rx : span);
  } else if (chosen === 9) {
    allocator.shrink(random.below(2) === 0 ? span : span.rx, Math.max(1, span.size >> 1));
  } else if (chosen === 10) {
    allocator.spanOf(span.token);
  } else {
    allocator.write(span, (code) => Math.max(1, code.length >> 1));
  }
}
const missed = [...called()].filter((name) => !before.has(name));
console.log(JSON.stringify({ known: before.size, missed }));
