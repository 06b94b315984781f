/**
 * Runs in a process of its own, under a limit of the system that is met for real: `limits-child.js SCENARIO [ROUNDS [below|range]]`.
 * Each scenario meets its limit, sees a typed error with nothing changed, and works again when there is room.
 * Prints the errors as JSON; fails where anything is not as it should be, a mapping or a descriptor lost included.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { JitAllocator, JitError, toFunction, VirtMem, type JitAllocatorOptions } from "../../src/index.ts";
import { refuses, throwsJitError } from "../support/expectations.ts";
import { returnConstant, RUNS_HERE } from "../support/native-code.ts";
import { mapLineOf, openDescriptors, ownUsedLines } from "../support/process-state.ts";
import { Limit, withLimit } from "../support/rlimit.ts";
import { refuseCall } from "../support/seccomp.ts";

const MiB = 1024 * 1024;
const [, , scenario = "", rounds = "1", rung = "below"] = process.argv;
/** Most limits are about blocks that are mapped one by one; range.test.ts has those of the range. */
const useRange = rung === "range";

/** What an error was, for the test to compare. */
type Seen = Pick<JitError, "code" | "syscall" | "errno">;
const seen: Seen[] = [];

function note({ code, syscall, errno }: JitError): void {
  seen.push({
    code,
    ...(syscall === undefined ? {} : { syscall }),
    ...(errno === undefined ? {} : { errno }),
  });
}

/** Allocates, writes, runs, and releases: all that can be expected of an allocator that works. */
function works(allocator: JitAllocator, size = 64): void {
  const span = allocator.alloc(size);
  span.write(0, returnConstant(42));
  if (RUNS_HERE) assert.equal(toFunction(span, { parameters: [], result: "i32" })(), 42);
  span.release();
  allocator.verify();
}

/** Bytes of addresses that this process has mapped. */
function addressSpaceBytes(): number {
  return Number(/^VmSize:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
}

/** Reads a span of which there is no room for a copy. */
function readsTooMuch(): void {
  const size = 2040 * MiB; // too much, also where V8 gives back what it holds
  for (const isShared of [false, true]) {
    using allocator = new JitAllocator({ useRange, useDualMapping: false });
    if (isShared) allocator.share();
    const span = allocator.alloc(size);
    span.write(size - 1, Uint8Array.of(7));
    withLimit(Limit.AS, addressSpaceBytes() + 128 * MiB, () => {
      note(throwsJitError("ERR_OUT_OF_MEMORY", () => span.read()));
      note(throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.write(span, () => undefined)));
    });
    assert.equal(span.read(size - 1)[0], 7);
  }
}

function largePageCount(name: "Free" | "Total"): number {
  return Number(
    new RegExp(`^HugePages_${name}:\\s+(\\d+)$`, "m").exec(readFileSync("/proc/meminfo", "utf8"))?.[1],
  );
}

/** The size of the pages that hold an address, in bytes, as the system says. */
function pageSizeAt(address: number): number {
  const line = mapLineOf(address);
  assert.ok(line);
  const smaps = readFileSync("/proc/self/smaps", "utf8").split("\n");
  const begin = smaps.indexOf(line);
  const entry = smaps.slice(begin).find((candidate) => candidate.startsWith("KernelPageSize:"));
  return Number(/(\d+) kB/.exec(entry ?? "")?.[1]) * 1024;
}

/** The limit of mappings. What is mapped piece by piece is taken from one range, so that it goes at once. */
const MOST_MAPPINGS = Number(readFileSync("/proc/sys/vm/max_map_count", "utf8"));

/**
 * Makes mappings until the system has none left, does `act`, and takes them away again. Pages that differ from their
 * neighbours in what may be done with them are mappings of their own.
 *
 * @param act is given a function that gives one mapping back
 */
function withMappingsExhausted(act: (giveOne: () => void) => void): void {
  const { pageSize } = VirtMem.info();
  const size = 2 * MOST_MAPPINGS * pageSize;
  const range = VirtMem.alloc(size, {});
  const setReadable = (page: number, read: boolean): boolean => {
    try {
      VirtMem.protect(range + page * pageSize, pageSize, { read });
      return true;
    } catch (error) {
      assert.ok(error instanceof JitError && error.code === "ERR_OUT_OF_MEMORY", String(error));
      return false;
    }
  };
  try {
    // A page in the middle makes two mappings more, the one at the edge makes one.
    let page = 2;
    while (setReadable(page, true)) page += 2;
    let isEdgeOwn = setReadable(0, true);
    act(() => {
      if (!isEdgeOwn) {
        page -= 2;
        setReadable(page, false);
      }
      isEdgeOwn = !isEdgeOwn;
      setReadable(0, isEdgeOwn);
    });
  } finally {
    VirtMem.release(range, size);
  }
}

const CONFIGURATIONS: readonly JitAllocatorOptions[] = [
  {},
  { useDualMapping: false },
  { fillUnusedMemory: true, useMultiplePools: true },
  { immediateRelease: true, useLargePages: true },
];

const scenarios: Readonly<Record<string, (allocator: JitAllocator) => void>> = {
  /** No addresses left. */
  "address-space": (allocator) => {
    // Room for what V8 needs meanwhile, and too little for what is asked for, also where V8 gives back what it holds.
    withLimit(Limit.AS, addressSpaceBytes() + 128 * MiB, () => {
      note(refuses(allocator, "ERR_OUT_OF_MEMORY", () => allocator.alloc(2040 * MiB)));
      note(refuses(allocator, "ERR_OUT_OF_MEMORY", () => VirtMem.alloc(4096 * MiB, { read: true })));
      works(allocator);
    });
    works(allocator, 64 * MiB);
  },

  /** No memory for copies of spans. */
  copies: readsTooMuch,

  /** No addresses left for an allocator's own records. */
  metadata: () => {
    // What earlier allocators reserved is given back when it is collected: more are made than that is good for.
    const made = withLimit(Limit.AS, addressSpaceBytes() + 128 * MiB, () => {
      const allocators: JitAllocator[] = [];
      for (let count = 0; count < 1000; count++) {
        try {
          allocators.push(new JitAllocator({ useRange }));
        } catch (error) {
          assert.ok(error instanceof JitError, String(error));
          note(error);
          assert.match(error.message, /maxReservedSize/);
          return allocators;
        }
      }
      return allocators;
    });
    for (const allocator of made) allocator.dispose();
    using allocator = new JitAllocator({ useRange });
    works(allocator);
  },

  /** No descriptor left. */
  descriptors: (allocator) => {
    // A new descriptor gets the lowest number that is free.
    const open = openDescriptors().map((text) => Number.parseInt(text, 10));
    let lowestFree = 0;
    while (open.includes(lowestFree)) lowestFree++;
    withLimit(Limit.NOFILE, lowestFree, () => {
      const allocate = (): unknown => allocator.alloc(64);
      if (allocator.hasOption("useDualMapping")) note(refuses(allocator, "ERR_TOO_MANY_HANDLES", allocate));
      else works(allocator); // takes no descriptor
    });
    works(allocator);
  },

  /** Files may not grow. */
  "file-size": (allocator) => {
    withLimit(Limit.FSIZE, 32 * 1024, () => {
      const allocate = (): unknown => allocator.alloc(64);
      if (allocator.hasOption("useDualMapping")) note(refuses(allocator, "ERR_OUT_OF_MEMORY", allocate));
      else works(allocator);
    });
    // Room for blocks of the smallest size, and for none of the next.
    const spans = withLimit(Limit.FSIZE, allocator.blockSize, () =>
      Array.from({ length: 4 }, () => allocator.alloc(allocator.blockSize / 2)),
    );
    for (const span of spans) span.release();
    works(allocator, 2 * allocator.blockSize);
  },

  /** No mapping left, or nearly none: each number of them stops a block at another point of its making. */
  mappings: (allocator) => {
    works(allocator); // loads what a first call loads
    const live = allocator.alloc(64);
    withMappingsExhausted((giveOne) => {
      for (let spare = 0; spare < 8; spare++) {
        const before = allocator.statistics().blockCount;
        try {
          allocator.alloc(4 * MiB).release();
        } catch (error) {
          assert.ok(error instanceof JitError);
          note(error);
          assert.equal(allocator.statistics().blockCount, before);
        }
        allocator.verify();
        giveOne();
      }
    });
    live.release();
    works(allocator, 4 * MiB);
  },

  /** The middle one of three blocks that the system sees as one mapping: giving it back would make one more. */
  "unmap-without-mappings": (allocator) => {
    // More than blocks grow to by themselves: a block each.
    const spans = Array.from({ length: 8 }, () => allocator.alloc(65 * MiB));
    withMappingsExhausted(() => {
      for (const span of spans.filter((_span, index) => index % 2 === 1)) {
        const before = allocator.statistics().allocationCount;
        try {
          span.release();
          assert.ok(span.isReleased);
        } catch (error) {
          assert.ok(error instanceof JitError);
          note(error);
          assert.equal(span.isReleased, false);
          assert.equal(allocator.statistics().allocationCount, before);
        }
      }
    });
    allocator.verify();
    for (const span of spans) span[Symbol.dispose]();
    works(allocator);
  },

  /** What vm.memfd_noexec says is set from outside, for this process's namespace. */
  "memfd-noexec": (allocator) => {
    works(allocator);
  },

  /** Every way to a dual mapping closed: memfd by a filter, the others by noexec mounts; then one opened again. */
  noexec: (allocator) => {
    VirtMem.info(); // loads koffi, which may lie where nothing can be executed in a moment
    refuseCall("memfd_create");
    const allocate = (): unknown => allocator.alloc(64);
    if (!allocator.hasOption("useDualMapping")) {
      works(allocator);
      return;
    }
    for (const folder of ["/dev/shm", "/tmp"]) {
      const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", "noexec", "tmpfs", folder]);
      assert.equal(status, 0);
    }
    const error = refuses(allocator, ["ERR_PERMISSION", "ERR_FEATURE_NOT_ENABLED"], allocate);
    note(error);
    for (const way of [
      /memfd_create: ENOSYS/,
      /unlinked file in \/dev\/shm \(.*noexec/,
      /unlinked file in \/tmp \(.*noexec/,
    ]) {
      assert.match(error.message, way);
    }
    assert.equal(spawnSync("mount", ["-o", "remount,exec", "/tmp"]).status, 0);
    works(allocator);
  },

  /** Large pages are asked for and there are none. */
  "no-large-pages": (allocator) => {
    assert.equal(largePageCount("Total"), 0);
    works(allocator, 4 * MiB);
  },

  /** There are some; then all are taken, and regular ones do as well. */
  "large-pages": (allocator) => {
    const free = largePageCount("Free");
    const large = VirtMem.largePageSize();
    assert.ok(free >= 4, `${free} large pages are free`);
    const span = allocator.alloc(2 * large - 4096);
    assert.equal(pageSizeAt(span.rx), large);
    assert.equal(pageSizeAt(span.rw), large);
    span.write(0, returnConstant(42));
    const many = Array.from({ length: free }, () => allocator.alloc(2 * large - 4096));
    for (const other of many) other.write(other.size - 64, returnConstant(1));
    assert.ok(
      many.some(({ rx }) => pageSizeAt(rx) < large),
      "not all can have large pages",
    );
    allocator.reset("hard");
    assert.equal(largePageCount("Free"), free, "every large page is given back");
    works(allocator);
  },
};

const run = scenarios[scenario];
assert.ok(run, `there is no scenario ${scenario}`);
const CHOSEN: readonly JitAllocatorOptions[] =
  scenario === "unmap-without-mappings"
    ? [true, false].map((useDualMapping) => ({
        useDualMapping,
        immediateRelease: true,
        granularity: 256 as const,
      }))
    : scenario === "large-pages"
      ? [{ useLargePages: true, alignBlockSizeToLargePage: true }]
      : CONFIGURATIONS;
const configurations = CHOSEN.map((options) => ({ useRange, ...options }));
// Loads the library and what a first call opens, and shows that all is well before the limit is met.
for (const options of scenario === "noexec" ? [] : configurations) {
  using allocator = new JitAllocator(options);
  works(allocator);
}
const descriptors = openDescriptors();
for (let round = 0; round < Number(rounds); round++) {
  for (const options of configurations) {
    const allocator = new JitAllocator(options);
    run(allocator);
    allocator.dispose();
    assert.deepEqual(ownUsedLines(), [], "every mapping is gone");
    if (scenario !== "noexec") assert.deepEqual(openDescriptors(), descriptors, "every descriptor is closed");
  }
}
console.log(JSON.stringify(seen));
