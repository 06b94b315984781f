/** Protection keys: what the system is asked for, what the routines do, and what an allocator does with closed views. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Decoder, DecoderOptions, Mnemonic } from "iced-x86";
import { systemFfi } from "../../src/ffi/select.ts";
import { JitAllocator, JitRuntime, type JitAllocatorOptions } from "../../src/index.ts";
import { LinuxMemory } from "../../src/vm/linux.ts";
import { coherentCache } from "../../src/vm/linux/instruction-cache.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { systemFiles } from "../../src/vm/linux/files.ts";
import { bindLibc } from "../../src/vm/linux/libc.ts";
import { COPY_ROUTINE, STORE_ROUTINE, WriteKeys } from "../../src/vm/linux/write-keys.ts";
import type { RangeRefusal, ReservedRange } from "../../src/vm/range/contract.ts";
import { systemMemory } from "../../src/vm/select.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { attachOn } from "../support/attach.ts";
import { throwsJitError } from "../support/expectations.ts";
import { FakeLibc, type FakeMachine } from "../support/fake-libc.ts";
import { FakeMarks } from "../support/fake-marks.ts";
import { WITHOUT_ROUTINE } from "../support/fake-noting.ts";
import { needs } from "../support/requirements.ts";

const KEYS: JitAllocatorOptions = { protectWrites: "keys" };
const MiB = 1024 * 1024;
const CPU = { "/proc/cpuinfo": "processor : 0\nflags\t\t: fpu pku ospke\n" };

/** The mnemonics of a routine. */
function decode(code: Uint8Array): Mnemonic[] {
  const decoder = new Decoder(64, code, DecoderOptions.None);
  const mnemonics: Mnemonic[] = [];
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    mnemonics.push(instruction.mnemonic);
    instruction.free();
  }
  decoder.free();
  return mnemonics;
}

/** A routine that leaves the register alone: nothing else of it needs protection keys. */
function withoutKeys(code: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(code);
  let count = 0;
  for (let at = 0; at + 2 < copy.length; at++) {
    if (copy[at] !== 0x0f || copy[at + 1] !== 0x01) continue;
    assert.ok(copy[at + 2] === 0xee || copy[at + 2] === 0xef);
    // `xor edx, edx; nop` for rdpkru, which leaves 0 there too; a nop of three bytes for wrpkru.
    copy.set(copy[at + 2] === 0xee ? [0x31, 0xd2, 0x90] : [0x0f, 0x1f, 0x00], at);
    count += 1;
  }
  assert.equal(count, 3);
  return copy;
}

describe("the routines that write", () => {
  for (const [name, code] of [
    ["copy", COPY_ROUTINE],
    ["store", STORE_ROUTINE],
  ] as const) {
    test(`${name}: opens once, closes last with what was read first, and has one return`, () => {
      const mnemonics = decode(code);
      assert.equal(mnemonics.includes(Mnemonic.INVALID), false);
      const places = (wanted: Mnemonic): number[] =>
        mnemonics.flatMap((mnemonic, index) => (mnemonic === wanted ? index : []));
      assert.deepEqual(places(Mnemonic.Rdpkru), [2]);
      assert.deepEqual(places(Mnemonic.Wrpkru), [5, mnemonics.length - 2]);
      assert.deepEqual(places(Mnemonic.Ret), [mnemonics.length - 1]);
    });
  }

  test("copy bytes in and out, and store each size", { skip: needs("x64Linux") }, () => {
    const ffi = systemFfi();
    const libc = bindLibc(ffi);
    const routines = { copy: withoutKeys(COPY_ROUTINE), store: withoutKeys(STORE_ROUTINE) };
    const keys = new WriteKeys({ libc, files: systemFiles, ffi, routines });
    const memory = systemMemory();
    const { pageSize } = memory.info();
    const address = memory.alloc(2 * pageSize, { read: true, write: true });
    try {
      for (const length of [1, 7, 64, 255, pageSize, 2 * pageSize]) {
        const bytes = Uint8Array.from({ length: length + 3 }, (_, index) => index * 7 + length);
        keys.copyIn(address, bytes, length);
        const copy = new Uint8Array(length);
        keys.copyOut(address, copy);
        assert.deepEqual(copy, bytes.subarray(0, length));
      }
      for (const length of [1, 2, 4, 8]) {
        keys.copyIn(address, new Uint8Array(24), 24);
        keys.store(address + 8, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8).subarray(0, length));
        const copy = new Uint8Array(24);
        keys.copyOut(address, copy);
        const wanted = new Uint8Array(24);
        wanted.set(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8).subarray(0, length), 8);
        assert.deepEqual(copy, wanted, `${length} bytes`);
      }
    } finally {
      memory.release(address, 2 * pageSize);
    }
  });
});

describe("what Linux is asked for", () => {
  const calls: string[] = [];
  const machineOf = (machine: FakeMachine): { libc: FakeLibc; memory: LinuxMemory } => {
    const libc = new FakeLibc(machine);
    calls.length = 0;
    const ffi = {
      view: () => assert.fail("a view was opened"),
      detach: () => undefined,
      callable: () => ({
        address: 0,
        call: (...args: readonly unknown[]) => calls.push(`${args.length} arguments`),
        close: () => undefined,
      }),
    };
    const memory = new LinuxMemory({
      libc,
      files: libc.files(),
      bindMarkCalls: () => new FakeMarks().calls(1),
      noting: WITHOUT_ROUTINE,
      ffi,
      instructionCache: coherentCache,
      makeKeys: () => new WriteKeys({ libc, files: libc.files(), ffi, processor: "x64" }),
    });
    return { libc, memory };
  };
  const request = { sizeBytes: 64 * MiB, leastBytes: 64 * MiB, isDual: true, reachBytes: 2 ** 31 } as const;

  test("the whole writable view has the key before anything in it is usable; one key for all ranges", () => {
    const { libc, memory } = machineOf({ keys: 2, files: CPU });
    assert.equal(memory.writeKeys?.refusal(), undefined);
    assert.deepEqual(libc.calls.slice(-2), ["pkey_alloc", "pkey_free"]);
    const closed = memory.writeKeys?.memory();
    assert.equal(closed, memory.writeKeys?.memory());
    assert.ok(closed?.ranges !== undefined);
    for (let times = 1; times <= 2; times++) {
      const range: ReservedRange | RangeRefusal = closed.ranges.reserve(request);
      assert.ok("rx" in range);
      assert.deepEqual(libc.keyed.at(-1), {
        address: range.rw,
        sizeBytes: range.sizeBytes,
        protection: 0,
        key: 1,
      });
      assert.equal(libc.keyed.length, times);
      closed.ranges.commit(range, 0, MiB, false);
      assert.equal(libc.keyed.length, times, "what is made usable keeps the key");
    }
    assert.equal(libc.calls.filter((call) => call === "pkey_alloc").length, 2, "one to ask, one to have");
    memory.ranges.reserve(request);
    assert.equal(libc.keyed.length, 2, "other ranges are open");
  });

  test("nothing is left where the key, or the view, is refused", () => {
    for (const call of ["pkey_alloc", "pkey_mprotect"] as const) {
      const { libc, memory } = machineOf({ keys: 1, files: CPU });
      const closed = memory.writeKeys?.memory();
      libc.refuse(call, Errno.ENOSPC);
      const code = call === "pkey_alloc" ? "ERR_FEATURE_NOT_ENABLED" : "ERR_OUT_OF_MEMORY";
      const { syscall } = throwsJitError(code, () => closed?.ranges?.reserve(request));
      assert.equal(syscall, call);
      assert.deepEqual(libc.leftovers(), []);
    }
  });

  test("to ask whether the machine has keys takes none", () => {
    const { libc, memory } = machineOf({ keys: 0, files: CPU });
    assert.equal(memory.writeKeys?.lack(), undefined);
    assert.equal(libc.calls.includes("pkey_alloc"), false);
    assert.match(memory.writeKeys?.refusal() ?? "", /pkey_alloc: ENOSPC: a process has 15/);
    const none = machineOf({ keys: 1, files: { "/proc/cpuinfo": "flags : fpu sse2\n" } });
    assert.match(none.memory.writeKeys?.lack() ?? "", /no pku in .proc.cpuinfo/);
  });

  test("all bytes go through the routines, and no view is opened", () => {
    const { libc, memory } = machineOf({ keys: 1, files: CPU });
    const closed = memory.writeKeys?.memory();
    assert.ok(closed !== undefined);
    closed.copyIn(0x1000, new Uint8Array(4), 4);
    closed.copyOut(0x1000, new Uint8Array(4));
    closed.storeAtomically(0x1000, new Uint8Array(4));
    assert.deepEqual(
      calls,
      Array.from({ length: 3 }, () => "3 arguments"),
    );
    throwsJitError("ERR_PERMISSION", () => closed.openView(0x1000, 4));
    // The page of the routines is made once, and is never writable and executable at once.
    assert.equal(libc.calls.filter((call) => call === "mmap").length, 1);
    assert.deepEqual(libc.writableCode, []);
  });

  test("a machine that has no keys says why", () => {
    const reasons: readonly (readonly [FakeMachine, RegExp])[] = [
      [{ files: { "/proc/cpuinfo": "flags : fpu sse2\n" } }, /no pku in .proc.cpuinfo/],
      [{ files: { "/proc/cpuinfo": "flags : fpu pku\n" } }, /the kernel does not use them/],
      [{ files: CPU }, /pkey_alloc: ENOSPC: a process has 15/],
      [{}, /pkey_alloc: ENOSPC/],
    ];
    for (const [machine, reason] of reasons) {
      const { memory } = machineOf(machine);
      assert.match(memory.writeKeys?.refusal() ?? "", reason);
      const error = throwsJitError("ERR_FEATURE_NOT_ENABLED", () => new JitAllocator(KEYS, memory));
      assert.match(error.message, reason);
      const step = memory.probe().find(({ name }) => name === "protection keys");
      assert.equal(step?.ok, false);
      assert.match(step.detail, reason);
    }
    const { memory } = machineOf({ keys: 1, files: CPU });
    assert.equal(memory.probe().find(({ name }) => name === "protection keys")?.ok, true);
    const arm = new WriteKeys({
      libc: new FakeLibc(),
      files: systemFiles,
      ffi: { callable: () => assert.fail() },
      processor: "arm64",
    });
    assert.match(arm.refusal() ?? "", /x86-64's/);
  });
});

describe("an allocator with closed views", () => {
  const closed = (): SimulatedMemory => new SimulatedMemory({ hasRanges: true, hasKeys: true });

  for (const options of [
    KEYS,
    { ...KEYS, fillUnusedMemory: true, immediateRelease: true, useMultiplePools: true },
  ]) {
    for (const isShared of [false, true]) {
      test(`does all that others do (${JSON.stringify(options)}, ${isShared ? "shared" : "in one thread"})`, () => {
        const memory = closed();
        using allocator = new JitAllocator(options, memory);
        if (isShared) allocator.share();
        const span = allocator.alloc(5000);
        span.write(0, new Uint8Array(5000).fill(7));
        allocator.write(span, 64, Uint8Array.of(1, 2, 3));
        allocator.write(span, (code) => {
          code[0] = 9;
          return 200;
        });
        span.patch(8, Uint8Array.of(4, 5, 6, 7));
        assert.deepEqual([...span.read(0, 12)], [9, 7, 7, 7, 7, 7, 7, 7, 4, 5, 6, 7]);
        const runtime = new JitRuntime({ allocator });
        assert.deepEqual([...runtime.add(Uint8Array.of(1, 2)).read(0, 2)], [1, 2]);
        using builder = allocator.module();
        builder.data(Uint8Array.of(8));
        builder.constants(Uint8Array.of(9));
        const loaded = builder.commit();
        assert.deepEqual(
          loaded.spans.map((each) => each.read(0, 1)[0]),
          [8, 9],
        );
        loaded.release();
        span.release();
        allocator.trim();
        allocator.reset();
        allocator.verify();
        assert.equal(memory.openViewCount, 0);
        assert.equal(memory.calls.closeView, 0);
        assert.ok(memory.calls.copyIn > 0 && memory.calls.copyOut > 0);
      });
    }
  }

  test("threads attach to one, by the handle alone", () => {
    const memory = closed();
    using allocator = new JitAllocator(KEYS, memory);
    const other = attachOn(allocator.share(), memory);
    const span = other.alloc(64);
    span.write(0, Uint8Array.of(3));
    assert.equal(allocator.query(span.rx).read(0, 1)[0], 3);
    const lacking = new SimulatedMemory({ hasRanges: true });
    throwsJitError("ERR_FEATURE_NOT_ENABLED", () => attachOn(allocator.share(), lacking));
    other.detach();
  });

  test("threads attach where the process has no key left, and can use what is there", () => {
    const memory = closed();
    using allocator = new JitAllocator(KEYS, memory);
    allocator.alloc(64);
    const handle = allocator.share();
    const support = memory.writeKeys ?? assert.fail();
    support.refusal = () => "there is no key left";
    throwsJitError("ERR_FEATURE_NOT_ENABLED", () => new JitAllocator(KEYS, memory));
    const other = attachOn(handle, memory);
    const span = other.alloc(64);
    span.write(0, Uint8Array.of(3));
    assert.equal(allocator.query(span.rx).read(0, 1)[0], 3);
    other.detach();
    support.lack = () => "this processor has none";
    throwsJitError("ERR_FEATURE_NOT_ENABLED", () => attachOn(handle, memory));
  });

  test("there is no weaker way: without a range nothing is allocated", () => {
    using allocator = new JitAllocator(KEYS, new SimulatedMemory({ hasKeys: true }));
    const { message } = throwsJitError("ERR_FEATURE_NOT_ENABLED", () => allocator.alloc(64));
    assert.match(message, /protect writes by keys: this system offers no ranges/);
    throwsJitError(
      "ERR_FEATURE_NOT_ENABLED",
      () => new JitAllocator(KEYS, new SimulatedMemory({ hasRanges: true })),
    );
  });

  test("does not go with useRange: false, useDualMapping: false, or sealed", () => {
    for (const other of [{ useRange: false }, { useDualMapping: false }, { sealed: true }])
      throwsJitError("ERR_INVALID_ARGUMENT", () => new JitAllocator({ ...KEYS, ...other }, closed()));
  });

  test("on this machine: the reason why not, where it has no keys", () => {
    const refusal = systemMemory().writeKeys?.refusal();
    if (refusal === undefined && systemMemory().writeKeys !== undefined) new JitAllocator(KEYS).dispose();
    else throwsJitError("ERR_FEATURE_NOT_ENABLED", () => new JitAllocator(KEYS));
  });
});
