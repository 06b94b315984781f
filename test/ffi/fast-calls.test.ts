/** The functions that are made when calling by address was too slow, and when they are made. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitAllocator } from "../../src/index.ts";
import { absoluteSymbols, knowsAbsoluteSymbols, symbolName } from "../../src/ffi/absolute-symbols.ts";
import type { NativeCallable, NativeSignature, NativeType } from "../../src/ffi/contract.ts";
import { LinkQueue, type LinkTarget } from "../../src/ffi/link-queue.ts";
import { MemoryFiles } from "../../src/ffi/memory-file.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import { converted, ownTrampoline, toBigInt, toNumber } from "../../src/ffi/trampoline.ts";
import { platform } from "../../src/base/platform.ts";
import * as machineCode from "../support/native-code.ts";
import { openDescriptors } from "../support/process-state.ts";
import { INTEGER_EXTREMES } from "../support/extremes.ts";
import { needs } from "../support/requirements.ts";

const skip = needs("machineCode");

/** More calls than any interface waits for. */
const MANY_CALLS = 10_000;

/** Calls the code until there is a fast way, and returns that. */
function warmUp(callable: NativeCallable, ...args: unknown[]): NativeCallable["call"] {
  for (let count = 0; count < MANY_CALLS && callable.fast === undefined; count++) callable.call(...args);
  assert.ok(callable.fast, `no fast call after ${MANY_CALLS} calls`);
  return callable.fast;
}

describe("the fast calls of this runtime", { skip }, () => {
  const values: Readonly<Record<Exclude<NativeType, "void" | "buffer">, readonly (number | bigint)[]>> = {
    ...INTEGER_EXTREMES,
    i64: [-(2n ** 63n), 2n ** 53n + 1n],
    u64: [0n, 2n ** 64n - 1n],
    f32: [1.5, -0.25],
    f64: [0.1, Number.MAX_VALUE],
    pointer: [0, 2 ** 47 - 1, 2 ** 53 - 1],
  };
  for (const [type, each] of Object.entries(values) as [
    keyof typeof values,
    readonly (number | bigint)[],
  ][]) {
    it(`${type} goes in and comes back`, () => {
      using allocator = new JitAllocator();
      const code = machineCode.returnParameter([type], 0);
      const span = allocator.alloc(code.length);
      span.write(0, code);
      const callable = systemFfi().callable(span.rx, { parameters: [type], result: type });
      const fast = warmUp(callable, each[0]);
      for (const value of each) {
        assert.equal(fast(value), value);
        assert.equal(callable.call(value), value);
      }
      callable.close();
    });
  }

  it("a buffer is its memory, and void is undefined", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(machineCode.SWAP_BYTE.length);
    span.write(0, machineCode.SWAP_BYTE);
    const bytes = Uint8Array.of(1, 2, 3);
    const swap = warmUp(
      systemFfi().callable(span.rx, { parameters: ["buffer"], result: "u8" }),
      new Uint8Array(1),
    );
    assert.equal(swap(bytes.subarray(1)), 2);
    assert.deepEqual([...bytes], [1, 42, 3]);
    const none = systemFfi().callable(span.rx, { parameters: ["buffer"], result: "void" });
    assert.equal(none.call(bytes), undefined);
    assert.equal(warmUp(none, bytes)(bytes), undefined);
  });

  it("many functions get theirs side by side, in batches and alone", () => {
    using allocator = new JitAllocator();
    const signature = { parameters: ["f64"], result: "i32" } as const;
    const callables = Array.from({ length: 100 }, (_, value) => {
      const code = machineCode.returnConstant(value);
      const span = allocator.alloc(code.length);
      span.write(0, code);
      return systemFfi().callable(span.rx, signature);
    });
    for (const [value, callable] of callables.entries()) assert.equal(warmUp(callable, 0)(0), value);
    for (const [value, callable] of callables.entries()) assert.equal(callable.call(0), value);
  });
});

describe("when functions are linked", () => {
  const signature: NativeSignature = { parameters: [], result: "i32" };
  const target = (address: number): LinkTarget => ({ address, signature });

  /** A queue, and the addresses of each batch that it linked. */
  function makeQueue(isWorking = () => true): { queue: LinkQueue; batches: number[][] } {
    const batches: number[][] = [];
    const queue = new LinkQueue({
      worthCalls: 100,
      makesReentrant: true,
      link(targets) {
        batches.push(targets.map(({ address }) => address));
        return isWorking()
          ? targets.map(({ address }) => ({ fast: () => -address, reentrant: () => -1000 * address }))
          : undefined;
      },
    });
    return { queue, batches };
  }
  const callTimes = (callable: NativeCallable, count: number): unknown => {
    let result: unknown;
    for (let call = 0; call < count; call++) result = callable.call();
    return result;
  };

  it("one that is called as often as it costs, with those on the way, and nobody else", () => {
    const { queue, batches } = makeQueue();
    const [hot, warm, cold] = [1, 2, 3].map((address) => queue.callable(() => address, target(address)));
    assert.ok(hot && warm && cold);
    assert.equal(callTimes(warm, 25), 2);
    assert.equal(callTimes(cold, 24), 3);
    assert.equal(callTimes(hot, 99), 1);
    assert.deepEqual(batches, []);
    callTimes(hot, 1);
    assert.deepEqual(batches, [[2, 1]]);
    assert.deepEqual([hot.call(), hot.fast?.(), warm.call(), warm.fast?.()], [-1, -1, -2, -2]);
    assert.deepEqual([hot.reentrant?.(), warm.reentrant?.(), cold.reentrant?.()], [-1000, -2000, 3]);
    assert.equal(cold.call(), 3);
    assert.equal("fast" in cold, false, "the property comes with the function, so that it is written once");
    callTimes(hot, 1000);
    assert.equal(batches.length, 1);
  });

  it("no more than 64 wait for a hot one", () => {
    const { queue, batches } = makeQueue();
    for (let address = 1; address <= 200; address++)
      callTimes(
        queue.callable(() => 0, target(address)),
        50,
      );
    assert.deepEqual(
      batches.map(({ length }) => length),
      [64, 64, 64],
    );
  });

  it("one that is closed does not wait any more", () => {
    const { queue, batches } = makeQueue();
    const closed = queue.callable(() => 1, target(1));
    callTimes(closed, 50);
    closed.close();
    callTimes(
      queue.callable(() => 2, target(2)),
      100,
    );
    assert.deepEqual(batches, [[2]]);
  });

  it("where nothing can be linked, calls go on, and it is tried again as many calls later", () => {
    let isWorking = false;
    const { queue, batches } = makeQueue(() => isWorking);
    const callable = queue.callable(() => 1, target(1));
    assert.equal(callTimes(callable, 199), 1);
    assert.equal(batches.length, 1);
    assert.equal("fast" in callable, false);
    isWorking = true;
    callTimes(callable, 1);
    assert.equal(callable.fast?.(), -1);
  });
});

const skipLoading = needs("machineCode", "absoluteSymbols");

describe("the library of absolute symbols", { skip: needs("linux") }, () => {
  it("is loaded by the C library, and every symbol leads to its address", { skip: skipLoading }, () => {
    using allocator = new JitAllocator();
    const spans = Array.from({ length: 300 }, (_, value) => {
      const code = machineCode.returnConstant(value);
      const span = allocator.alloc(code.length);
      span.write(0, code);
      return span;
    });
    const image = absoluteSymbols(
      spans.map(({ rx }) => rx),
      platform.processor,
    );
    assert.ok(image);
    const results = new MemoryFiles(systemFfi()).use(image, (path) => {
      const library = systemFfi().open([path]);
      return spans.map((_, index) => library.find(symbolName(index), { parameters: [], result: "i32" })?.());
    });
    assert.deepEqual(
      results,
      spans.map((_, value) => value),
    );
  });

  it("there is none for a processor that is not known", () => {
    assert.equal(absoluteSymbols([4096], "other"), undefined);
  });

  it("is for glibc alone: musl and others have no function of that name", () => {
    const libcWith = (...symbols: readonly string[]): Parameters<typeof knowsAbsoluteSymbols>[0] => ({
      open: () => ({
        name: "libc",
        find: (symbol) => (symbols.includes(symbol) ? () => 0 : undefined),
      }),
    });
    assert.equal(knowsAbsoluteSymbols(libcWith("memcpy", "gnu_get_libc_version")), true);
    assert.equal(knowsAbsoluteSymbols(libcWith("memcpy")), false);
    const none = (): never => {
      throw new Error("no libc");
    };
    assert.equal(knowsAbsoluteSymbols({ open: none }), false);
  });

  it("no two files in memory have the same path, and none is left open", () => {
    const files = new MemoryFiles(systemFfi());
    const paths = Array.from({ length: 100 }, () => files.use(Uint8Array.of(1), (path) => path));
    assert.equal(new Set(paths).size, 100);
    assert.throws(
      () =>
        files.use(Uint8Array.of(1), () => {
          throw new Error("not loadable");
        }),
      /not loadable/,
    );
    // By what they lead to, not by their numbers: the runtime's own threads open and close some meanwhile.
    const open = (): readonly string[] => openDescriptors().filter((line) => line.includes("-symbols"));
    files.use(Uint8Array.of(1), () => assert.equal(open().length, 1));
    assert.deepEqual(open(), []);
  });

  it("where no file can be made there is no path", () => {
    const missing = { open: () => ({ name: "libc", find: () => undefined }) };
    assert.equal(
      new MemoryFiles(missing).use(Uint8Array.of(1), () => 1),
      undefined,
    );
    const failing = { open: () => ({ name: "libc", find: () => () => -1 }) };
    assert.equal(
      new MemoryFiles(failing).use(Uint8Array.of(1), () => 1),
      undefined,
    );
    const absent = {
      open: () => {
        throw new Error("no libc");
      },
    };
    assert.equal(
      new MemoryFiles(absent).use(Uint8Array.of(1), () => 1),
      undefined,
    );
  });
});

describe("conversions around a native function", () => {
  const conversions = { parameters: [undefined, toBigInt], result: toNumber };
  const raw = (a: unknown, b: unknown): unknown => (b as bigint) + BigInt(a as number);

  it("convert what has to be, and are no function at all where nothing has", () => {
    assert.equal(converted(raw, conversions)(1, 2), 3);
    assert.equal(ownTrampoline(raw, conversions)(1, 2), 3);
    assert.equal(converted(raw, { parameters: [undefined, undefined], result: undefined }), raw);
  });
});
