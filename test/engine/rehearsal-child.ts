/**
 * `node rehearsal-child.js OPTIONS`: makes an allocator, then allocates, releases and shrinks at random. Prints the functions of the
 * core and the engine that were called then, and not when the allocator was made: `[["core/holes.js", "takeHole"], …]`.
 */
import { Session, type Profiler } from "node:inspector";
import { JitAllocator, type JitAllocatorOptions, type Span } from "../../src/index.ts";
import { Random } from "../support/random.ts";

const session = new Session();
session.connect();
session.post("Profiler.enable");
session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });

/** The functions that were called since this was asked last, each by its file, name and place. */
function called(): Map<string, readonly [file: string, name: string]> {
  const found = new Map<string, readonly [string, string]>();
  const note = (_: Error | null, { result }: Profiler.TakePreciseCoverageReturnType): void => {
    for (const { url, functions } of result) {
      const file = /\/dist\/src\/((?:core|engine)\/.+)$/.exec(url)?.[1];
      if (file === undefined) continue;
      for (const { functionName, ranges } of functions) {
        const [range] = ranges;
        if (range === undefined || range.count === 0) continue;
        found.set(`${file} ${functionName} ${range.startOffset}`, [file, functionName]);
      }
    }
  };
  session.post("Profiler.takePreciseCoverage", note);
  return found;
}

const allocator = new JitAllocator(JSON.parse(process.argv[2] ?? "{}") as JitAllocatorOptions);
const before = called();
const random = new Random(20261128);
const spans: Span[] = [];
const addresses: number[] = [];

/** Takes one of them at random, out of the list. */
function takeOne<Item>(list: Item[]): Item | undefined {
  return list.splice(random.below(list.length + 1), 1)[0];
}

for (let step = 0; step < 30_000; step++) {
  const size = 1 + random.below(random.below(20) === 0 ? 30_000 : 3000);
  const chosen = random.below(10);
  if (chosen < 3) addresses.push(allocator.allocAddress(size));
  else if (chosen < 6) spans.push(allocator.alloc(size));
  else if (chosen === 6) takeOne(spans)?.release();
  else if (chosen === 7) {
    const address = takeOne(addresses);
    if (address !== undefined) allocator.release(address);
  } else if (chosen === 8) {
    const address = addresses[random.below(addresses.length + 1)];
    if (address !== undefined) allocator.shrink(address, 1 + random.below(64));
  } else spans[random.below(spans.length + 1)]?.shrink(64);
  // Now and then all of them, so that blocks become empty.
  if (step % 3000 !== 0) continue;
  for (const span of spans.splice(0)) span.release();
  for (const address of addresses.splice(0)) allocator.release(address);
}
const late = [...called()].filter(([key]) => !before.has(key)).map(([, place]) => place);
process.stdout.write(JSON.stringify(late));
