/**
 * Runs in a process of its own, started with --jitless, so that every executable mapping that is not of a file is
 * this library's. Prints the state of the process before and after as JSON.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { JitAllocator, toFunction, type JitAllocatorOptions } from "../../src/index.ts";
import { ADD, RUNS_HERE } from "../support/native-code.ts";

/** What could leak, and would be seen. */
interface ProcessState {
  /** Executable mappings, those of files included. */
  readonly executable: readonly string[];
  /** Mappings of memory files and of files that have no name any more. */
  readonly shared: readonly string[];
  readonly descriptors: readonly string[];
}

function look(): ProcessState {
  const lines = readFileSync("/proc/self/maps", "utf8").trimEnd().split("\n");
  const descriptors = readdirSync("/proc/self/fd").flatMap((descriptor) => {
    try {
      return [`${descriptor} ${readlinkSync(`/proc/self/fd/${descriptor}`)}`];
    } catch {
      return []; // the one that listed the directory is closed by now
    }
  });
  return {
    executable: lines.filter((line) => /^\S+ ..x/.test(line)).sort(),
    shared: lines.filter((line) => /memfd|deleted|\/dev\/shm|\/SYSV/.test(line)).sort(),
    descriptors: descriptors.sort(),
  };
}

function work(options: JitAllocatorOptions): ProcessState {
  const allocator = new JitAllocator(options);
  for (let size = 100; size < 2_000_000; size *= 2) {
    const span = allocator.alloc(size);
    span.write(0, ADD);
    if (RUNS_HERE) toFunction(span, { parameters: ["i32", "i32"], result: "i32" })(1, 2);
    span.read();
    if (size % 3 === 1) span.release();
  }
  const during = look();
  allocator[Symbol.dispose]();
  return during;
}

const configurations: JitAllocatorOptions[] = [
  {},
  { useDualMapping: false },
  { fillUnusedMemory: true },
  { useLargePages: true },
  { useLargePages: true, useDualMapping: false },
  { immediateRelease: true, useMultiplePools: true },
];
// The first use of each loads libraries and functions, for which a runtime may make code, and opens what the process then
// keeps; it is not what is measured.
for (const options of configurations) work(options);
const before = look();
const during = configurations.map((options) => work(options));
console.log(JSON.stringify({ before, during, after: look() }));
