/**
 * The limits of a system, met for real, each in a process of its own: what is refused is a typed error with the call
 * and its number, nothing is lost, and the same process works when there is room again.
 *
 * `npm run test:faults` meets each many times over. What needs the rights of root says so where it is skipped.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { needs } from "../support/requirements.ts";

const skip = needs("linux");
/** How often each scenario runs in one process. */
const rounds = process.env["FAULT_ROUNDS"] ?? "1";
const child = path.join(import.meta.dirname, "limits-child.js");

/** What the child saw of each error. */
interface Seen {
  readonly code: string;
  readonly syscall?: string;
  readonly errno?: number;
}

/**
 * What keeps V8 and malloc from asking for mappings of their own meanwhile: they end the process where they get none.
 * No code is compiled, the heap has its pages from the start, and malloc grows in one piece, ahead of need.
 */
const FRUGAL = ["--jitless", "--single-threaded", "--min-semi-space-size=16", "--max-semi-space-size=16"];
const FRUGAL_MALLOC = {
  MALLOC_MMAP_MAX_: "0",
  MALLOC_ARENA_MAX: "1",
  MALLOC_TOP_PAD_: String(64 * 1024 * 1024),
};

/** How a scenario is started. */
interface Start {
  /** What comes before its command line. */
  readonly wrapper?: readonly string[];
  readonly isFrugal?: boolean;
  /** Whether the blocks lie in one range; else they are mapped one by one. */
  readonly isInRange?: boolean;
}

function run(scenario: string, start?: Start): Seen[] {
  const wrapper = start?.wrapper ?? [];
  const isFrugal = start?.isFrugal === true;
  const nodeOptions = isFrugal ? FRUGAL : [];
  const [command, ...args] = [
    ...wrapper,
    process.execPath,
    ...nodeOptions,
    child,
    scenario,
    rounds,
    start?.isInRange === true ? "range" : "below",
  ];
  const env = { ...process.env, ...(isFrugal ? FRUGAL_MALLOC : {}), NODE_V8_COVERAGE: "" };
  const result = spawnSync(command, args, { encoding: "utf8", env });
  assert.equal(result.signal, null, `${scenario} was ended by ${String(result.signal)}: ${result.stderr}`);
  assert.equal(result.status, 0, result.stderr);
  return JSON.parse(result.stdout) as Seen[];
}

function assertAll(seen: readonly Seen[], expected: Seen): void {
  assert.ok(seen.length > 0, "the limit was met");
  for (const error of seen) assert.deepEqual(error, expected);
}

const OUT_OF_MEMORY: Seen = { code: "ERR_OUT_OF_MEMORY", syscall: "mmap", errno: 12 };

describe("limits of the process", { skip }, () => {
  test("addresses (RLIMIT_AS)", () => assertAll(run("address-space"), OUT_OF_MEMORY));

  test("addresses for the allocator's own records", () => {
    // The engine refuses the buffer, and does not say by which call.
    assertAll(run("metadata"), { code: "ERR_OUT_OF_MEMORY" });
  });

  test("memory for copies", () => assertAll(run("copies"), { code: "ERR_OUT_OF_MEMORY" }));

  test("descriptors (RLIMIT_NOFILE)", () => {
    assertAll(run("descriptors"), { code: "ERR_TOO_MANY_HANDLES", syscall: "memfd_create", errno: 24 });
  });

  test("the size of files (RLIMIT_FSIZE), without the signal that ends the process", () => {
    assertAll(run("file-size"), { code: "ERR_OUT_OF_MEMORY", syscall: "ftruncate", errno: 27 });
  });

  test("mappings (vm.max_map_count), at each step of making a block", () => {
    assertAll(run("mappings", { isFrugal: true }), OUT_OF_MEMORY);
  });

  test("mappings, where blocks lie in one range: a change of access makes more", () => {
    const outOfMappings = { ...OUT_OF_MEMORY, syscall: "mprotect" };
    for (const scenario of ["mappings", "unmap-without-mappings"])
      assertAll(run(scenario, { isFrugal: true, isInRange: true }), outOfMappings);
  });

  test("mappings, when giving a block back would make one more", () => {
    assertAll(run("unmap-without-mappings", { isFrugal: true }), {
      code: "ERR_OUT_OF_MEMORY",
      syscall: "munmap",
      errno: 12,
    });
  });
});

/** A shell in namespaces of its own: what it sets or mounts ends with it. */
function isolated(script: string): string[] {
  return ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", `${script} && exec "$0" "$@"`];
}

function whyNotIsolated(): string | false {
  if (skip !== false) return skip;
  const probe = spawnSync("unshare", ["--mount", "--pid", "--fork", "--mount-proc", "true"], {
    encoding: "utf8",
  });
  if (probe.error !== undefined) return `there is no unshare: ${probe.error.message}`;
  return probe.status === 0 ? false : `namespaces need the rights of root: ${probe.stderr.trim()}`;
}

describe("settings of the system", { skip: whyNotIsolated() }, () => {
  const hasMemfdNoexec = readOrUndefined("/proc/sys/vm/memfd_noexec") !== undefined;
  for (const value of [0, 1, 2]) {
    test(
      `vm.memfd_noexec = ${value}`,
      { skip: !hasMemfdNoexec && "this kernel does not have the setting (Linux 6.3)" },
      () => {
        assert.deepEqual(
          run("memfd-noexec", { wrapper: isolated(`echo ${value} > /proc/sys/vm/memfd_noexec`) }),
          [],
        );
      },
    );
  }

  test("no memfd, and /dev/shm and TMPDIR noexec: every way is named, and one that opens is taken", () => {
    const seen = run("noexec", { wrapper: isolated("export TMPDIR=/tmp") });
    assert.ok(seen.length > 0);
    for (const { code, syscall, errno } of seen) {
      // The memfd is not there at all, and the mounts forbid it: the ways do not agree on why.
      assert.deepEqual([code, syscall, errno], ["ERR_FEATURE_NOT_ENABLED", "mmap", 1]);
    }
  });
});

const HUGE_PAGES = "/proc/sys/vm/nr_hugepages";
/** Enough for one block of both views twice over, and few enough for any machine. */
const PAGES_WANTED = 8;

describe("large pages", { skip }, () => {
  const before = Number(readOrUndefined(HUGE_PAGES) ?? Number.NaN);
  test("absent: regular pages do", { skip: before !== 0 && "this machine has set some aside" }, () => {
    assert.deepEqual(run("no-large-pages"), []);
  });

  test("present: both views have them; when they are all taken, regular ones do", (context) => {
    try {
      writeFileSync(HUGE_PAGES, String(before + PAGES_WANTED));
    } catch (error) {
      context.skip(`setting large pages aside needs the rights of root: ${String(error)}`);
      return;
    }
    try {
      if (Number(readFileSync(HUGE_PAGES, "utf8")) < before + PAGES_WANTED) {
        context.skip("the memory of this machine is too much in pieces for large pages");
        return;
      }
      assert.deepEqual(run("large-pages"), []);
    } finally {
      writeFileSync(HUGE_PAGES, String(before));
    }
  });
});

function readOrUndefined(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
