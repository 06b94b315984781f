/** What docs/security.md says of Linux, tried the other way round: what it says does not protect is shown not to. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { platform } from "../../src/base/platform.ts";
import { JitAllocator, VirtMem } from "../../src/index.ts";
import { systemMemory } from "../../src/vm/select.ts";
import {
  callLibc,
  EXECUTE,
  MADV_REMOVE,
  MAP_PRIVATE_FIXED_ANONYMOUS,
  mapAgain,
  protect,
  READ,
  Refused,
  store,
  unmap,
  WRITE,
} from "../support/native-call.ts";
import { accessOf, mapLines } from "../support/process-state.ts";
import { needs } from "../support/requirements.ts";
import { bytesAt, someBytes } from "../support/rows.ts";

const skip = needs("linux");
const child = fileURLToPath(new URL("claims-child.js", import.meta.url));

interface ChildResult {
  readonly value: unknown;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** Runs the child in a process of its own. */
function run(action: string, flags: readonly string[] = []): ChildResult {
  const args = platform.runtime === "deno" ? ["run", "--allow-all", "--no-check", child] : [...flags, child];
  const { stdout, stderr, signal } = spawnSync(process.execPath, [...args, action], {
    encoding: "utf8",
    env: { ...process.env, NODE_V8_COVERAGE: "" },
  });
  const last = stdout.trimEnd().split("\n").at(-1) ?? "";
  return { value: last === "" ? undefined : (JSON.parse(last) as unknown), signal, output: stdout + stderr };
}

describe("who knows where the writable view lies", { skip }, () => {
  test("it lies a range before the executable one; right behind it, where blocks are mapped one by one", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    assert.ok(allocator.range);
    assert.equal(span.rx - span.rw, allocator.range.size);
    using one = new JitAllocator({ useRange: false });
    const alone = one.alloc(64);
    assert.equal(alone.rw - alone.rx, one.blocks()[0]?.size);
  });

  test("a store there changes code", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    store(span.rx - (allocator.range?.size ?? 0), Uint8Array.of(1, 2, 3));
    assert.deepEqual([...span.read(0, 3)], [1, 2, 3]);
  });

  test("mremap makes a further writable view of it, whatever is sealed", () => {
    const { pageSize } = VirtMem.info();
    using allocator = new JitAllocator({ disableInitialPadding: true });
    const span = allocator.alloc(64);
    const again = mapAgain(span.rw, pageSize);
    assert.equal(accessOf(again), "rw-s");
    store(again, Uint8Array.of(4, 5, 6));
    assert.deepEqual([...span.read(0, 3)], [4, 5, 6]);
    assert.equal(unmap(again, pageSize), 0);
  });

  test("mprotect makes the writable view executable, and back", () => {
    using allocator = new JitAllocator({ disableInitialPadding: true });
    const { rw } = allocator.alloc(64);
    // Never both, which the watch over all tests would report: what is written can be executed in the next moment.
    assert.equal(protect(rw, allocator.blockSize, READ | EXECUTE), 0);
    assert.equal(accessOf(rw), "r-xs");
    assert.equal(protect(rw, allocator.blockSize, READ | WRITE), 0);
  });

  for (const useRange of [true, false]) {
    test(`MADV_REMOVE ${useRange ? "wipes the memory through it" : "does not, where blocks are mapped one by one: sealed"}`, () => {
      const { pageSize } = VirtMem.info();
      using allocator = new JitAllocator({ useRange, disableInitialPadding: true });
      const span = allocator.alloc(64);
      span.write(0, Uint8Array.of(7));
      const types = ["pointer", "pointer", "i32"] as const;
      const result = callLibc("madvise", types, span.rw, pageSize, MADV_REMOVE);
      assert.equal(result, useRange ? 0 : Refused.EPERM);
      assert.equal(span.read(0, 1)[0], useRange ? 0 : 7);
    });
  }

  test("mmap puts other memory in the place of code, as of any address", () => {
    const { pageSize } = VirtMem.info();
    const mapping = VirtMem.allocDualMapping(pageSize, { read: true, write: true, execute: true });
    const types = ["pointer", "pointer", "i32", "i32", "i32", "pointer"] as const;
    const args = [mapping.rx, pageSize, READ | WRITE, MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0];
    assert.equal(callLibc("mmap", types, ...args), mapping.rx);
    assert.equal(accessOf(mapping.rx), "rw-p");
    VirtMem.releaseDualMapping(mapping, pageSize);
  });

  test("a sealed writable view (mseal) can be written, and neither copied, made executable nor given back", (context) => {
    const { value, output } = run("seal");
    const seen = value as Record<string, unknown> | undefined;
    if (seen?.["isSealed"] === Refused.ENOSYS) {
      context.skip("the kernel has no mseal");
      return;
    }
    assert.deepEqual(
      seen,
      {
        isSealed: 0,
        again: Refused.EPERM,
        executable: Refused.EPERM,
        unmapped: Refused.EPERM,
        written: 0x90,
        disposed: "ERR_PERMISSION",
      },
      output,
    );
  });
});

describe("where code lies", { skip }, () => {
  test("every block begins with the same place", () => {
    using allocator = new JitAllocator();
    const spans = [1, 2, 3].map(() => allocator.alloc(allocator.blockSize - 64));
    const places = spans.map(
      ({ rx }) =>
        rx - (allocator.blocks().find((block) => block.rx <= rx && rx < block.rx + block.size)?.rx ?? 0),
    );
    assert.deepEqual(places, [64, 64, 64]);
  });

  test("in another process it lies elsewhere, by the system's choice (ASLR)", (context) => {
    if (readFileSync("/proc/sys/kernel/randomize_va_space", "utf8").trim() === "0") {
      context.skip("the system places everything at the same addresses");
      return;
    }
    const places = new Set(Array.from({ length: 4 }, () => run("place").value));
    assert.ok(places.size > 1, [...places].join());
  });

  test("nothing but code is stored beside it, in a shared allocator neither", () => {
    const memory = systemMemory();
    using allocator = new JitAllocator();
    const allocate = (): void => {
      const spans = Array.from({ length: 200 }, (_, index) => allocator.alloc(64 * (1 + (index % 5))));
      for (const span of spans) span.write(0, new Uint8Array(span.size).fill(0x11));
      for (const [index, span] of spans.entries()) if (index % 3 === 0) span.release();
    };
    allocate();
    allocator.share();
    allocate();
    for (const { rx, size } of allocator.blocks()) {
      const strange = bytesAt(memory, rx, size).findIndex((byte) => byte !== 0x11 && byte !== 0);
      assert.equal(strange, -1);
    }
  });

  test("without fillUnusedMemory released code is what the next allocation of the place finds; with it, it is gone", () => {
    for (const fillUnusedMemory of [false, true]) {
      using allocator = new JitAllocator({ fillUnusedMemory });
      allocator.alloc(64);
      const span = allocator.alloc(64);
      span.write(0, someBytes(64));
      const { rx } = span;
      span.release();
      const next = allocator.alloc(64);
      assert.equal(next.rx, rx);
      assert.equal(Buffer.compare(next.read(), someBytes(64)) === 0, !fillUnusedMemory);
    }
  });
});

describe("a store to code", { skip }, () => {
  test("is a fault", () => {
    const { signal, output, value } = run("store");
    assert.equal(value, "before", output);
    // Runtimes that catch the signal, to say what happened, end otherwise.
    if (platform.runtime === "node") assert.equal(signal, "SIGSEGV", output);
  });
});

describe("another process", { skip }, () => {
  /** What a shell does with a file of this process's, as this user or as another one. */
  const shell = (command: string, uid?: number): string => {
    const options = uid === undefined ? {} : { uid, gid: uid };
    return spawnSync("sh", ["-c", command], { encoding: "utf8", ...options }).stderr;
  };
  /** Writes 3 bytes at an address of this process. */
  const write = (address: number): string =>
    `printf 'abc' | dd of=/proc/${process.pid}/mem bs=1 seek=${address} conv=notrunc status=none`;

  test("of the same user, who may trace this one, writes to the writable view, and so to code; not to the other", (context) => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    const refusal = shell(write(span.rw));
    if (/Permission denied|Operation not permitted/.test(refusal)) {
      context.skip("the system lets no process look at another (kernel.yama.ptrace_scope)");
      return;
    }
    assert.equal(refusal, "");
    assert.equal(Buffer.from(span.read(0, 3)).toString(), "abc");
    assert.match(shell(write(span.rx + 8)), /Input\/output error/);
    assert.deepEqual([...span.read(8, 3)], [0, 0, 0]);
  });

  test("of another user opens neither the memory nor a name of it", (context) => {
    if (process.getuid?.() !== 0) {
      context.skip("only root can become another user");
      return;
    }
    using allocator = new JitAllocator();
    const { rw } = allocator.alloc(64);
    const nobody = 65_534;
    assert.match(shell(write(rw), nobody), /Permission denied/);
    for (const folder of ["fd", "map_files"]) {
      assert.match(shell(`ls /proc/${process.pid}/${folder}/`, nobody), /Permission denied/);
    }
  });

  test("that fork alone makes has both views: nothing keeps them from it", () => {
    using allocator = new JitAllocator();
    const { rx } = allocator.alloc(64);
    const start = mapLines().find((line) =>
      line.startsWith(`${(rx - (rx % allocator.blockSize)).toString(16)}-`),
    );
    assert.ok(start, "the block is in the maps");
    const smaps = readFileSync("/proc/self/smaps", "utf8");
    const flags =
      /^VmFlags: (.*)$/m.exec(smaps.slice(smaps.indexOf(start.split(" ", 1)[0] ?? "")))?.[1] ?? "";
    assert.match(flags, /\bms\b/);
    assert.doesNotMatch(flags, /\bdc\b/, "not: do not copy at fork");
  });
});

describe("a process that may make nothing executable (PR_SET_MDWE)", { skip }, () => {
  const jitless = platform.runtime !== "node" && "the engine's own compiler has to be switched off for it";
  test("has code in dual mappings all the same, and no other", { skip: jitless }, (context) => {
    const { value, output } = run("mdwe", ["--jitless"]);
    const seen = value as Record<string, unknown> | undefined;
    if (seen?.["isSet"] === Refused.EINVAL) {
      context.skip("the kernel is older than the setting (6.3)");
      return;
    }
    const expected = {
      isSet: 0,
      sum: 5,
      access: "r-xs",
      executable: Refused.EACCES,
      single: "ERR_PERMISSION",
    };
    assert.deepEqual(seen, expected, output);
  });
});
