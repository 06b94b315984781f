/**
 * Runs in a process of its own, where something stands in the way of a range: `range-child.js SCENARIO`. Prints what the
 * allocator says as JSON; fails where it does not work, or leaves something behind.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { JitAllocator, JitError, toFunction, type JitAllocatorOptions } from "../../src/index.ts";
import { callLibc, EXECUTE, MADV_REMOVE, READ } from "../support/native-call.ts";
import { returnConstant, RUNS_HERE } from "../support/native-code.ts";
import { Limit, withLimit } from "../support/rlimit.ts";
import { refuseCall } from "../support/seccomp.ts";

const MiB = 2 ** 20;
const [, , scenario = ""] = process.argv;

/** Allocates, writes, runs and releases. Returns what there is. */
function use(options: JitAllocatorOptions = {}): unknown {
  using allocator = new JitAllocator(options);
  const spans = Array.from({ length: 20 }, () => allocator.alloc(100_000));
  for (const span of spans) {
    span.write(0, returnConstant(42));
    if (RUNS_HERE) assert.equal(toFunction(span, { parameters: [], result: "i32" })(), 42);
  }
  allocator.verify();
  const { range, options: inForce } = allocator;
  for (const span of spans) {
    const isInside =
      range !== undefined && range.start <= span.rx && span.rx + span.size <= range.start + range.size;
    assert.equal(isInside, range !== undefined);
    span.release();
  }
  allocator.verify();
  return { rangeSize: range?.size ?? 0, maxReservedSize: inForce.maxReservedSize };
}

function errorOf(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    assert.ok(error instanceof JitError, String(error));
    return { code: error.code, message: error.message };
  }
}

/** Bytes of addresses that this process has mapped. */
function addressSpaceBytes(): number {
  return Number(/^VmSize:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
}

const scenarios: Readonly<Record<string, () => unknown>> = {
  nothing: () => use(),
  addresses: () => withLimit(Limit.AS, addressSpaceBytes() + 700 * MiB, () => use()),
  "addresses-again": () =>
    withLimit(Limit.AS, addressSpaceBytes() + 700 * MiB, () => {
      use();
      return use();
    }),
  "no-addresses": () => {
    // The metadata is reserved first, and wants addresses too.
    const made = new JitAllocator();
    const without = new JitAllocator({ useRange: false });
    return withLimit(Limit.AS, addressSpaceBytes() + 100 * MiB, () => {
      const refused = errorOf(() => made.alloc(64));
      made.verify();
      assert.equal(made.statistics().blockCount, 0);
      without.alloc(64).release();
      return refused;
    });
  },
  "file-size": () => withLimit(Limit.FSIZE, 10 * MiB, () => use()),
  memfd: () => {
    use({ useRange: false }); // loads what a first call opens
    refuseCall("memfd_create");
    return use();
  },
  remove: () => {
    use({ useRange: false });
    refuseCall("madvise", MADV_REMOVE);
    return use();
  },
  execute: () => {
    use({ useRange: false });
    refuseCall("mprotect", READ | EXECUTE);
    return use();
  },
  "sealed-without-mseal": () => {
    use({ useRange: false });
    refuseCall("mseal");
    return errorOf(() => new JitAllocator({ sealed: true }));
  },
  "sealed-without-range": () => {
    use({ useRange: false });
    refuseCall("memfd_create");
    return errorOf(() => use({ sealed: true }));
  },
  /** PR_SET_MDWE: from now on mprotect adds execution to nothing. */
  mdwe: () => {
    const result = callLibc("prctl", ["i32", "u64", "u64", "u64", "u64"], 65, 1n, 0n, 0n, 0n);
    return result === 0 ? use() : { refused: result };
  },
  /** As before, but the range was reserved already, and is kept for the next allocator. */
  "mdwe-later": () => {
    use();
    callLibc("prctl", ["i32", "u64", "u64", "u64", "u64"], 65, 1n, 0n, 0n, 0n);
    return use();
  },
  near: () => errorOf(() => use({ near: 2 ** 46, useDualMapping: false })),
  "near-without": () => {
    use({ useRange: false });
    refuseCall("memfd_create");
    return errorOf(() => use({ near: 2 ** 46 }));
  },
};

const run = scenarios[scenario];
assert.ok(run, `there is no scenario ${scenario}`);
console.log(JSON.stringify(run()));
