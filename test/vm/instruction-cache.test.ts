/** The instruction cache of each processor: what is called, in which order, and what happens where it is missing. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import type { Address, Ffi, NativeFunction, NativeSignature } from "../../src/ffi/contract.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import { platform } from "../../src/base/platform.ts";
import { clearCacheOfLibgcc, ownClearCache } from "../../src/vm/linux/clear-cache.ts";
import { CoreBarrier, Membarrier } from "../../src/vm/linux/core-barrier.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { instructionCache } from "../../src/vm/linux/instruction-cache.ts";
import { bindLibc, Protection } from "../../src/vm/linux/libc.ts";
import { FakeLibc, PAGE } from "../support/fake-libc.ts";
import { throwsJitError } from "../support/expectations.ts";

const REGISTER = `membarrier ${Membarrier.REGISTER_PRIVATE_EXPEDITED_SYNC_CORE}`;
const SYNC_CORE = `membarrier ${Membarrier.PRIVATE_EXPEDITED_SYNC_CORE}`;

/** A foreign function interface without a machine: it records what is called, in words. */
class FakeFfi implements Ffi {
  readonly name = "fake";
  readonly version = "0";
  readonly reason = "";
  readonly calls: string[] = [];
  readonly #symbols: readonly string[];
  readonly #membarrierErrno: (command: number) => number;
  #errno = 0;

  /** @param symbols what the libraries have; @param membarrierErrno what the kernel answers, 0 = done */
  constructor(symbols: readonly string[], membarrierErrno: (command: number) => number = () => 0) {
    this.#symbols = symbols;
    this.#membarrierErrno = membarrierErrno;
  }

  open(names: readonly string[]): ReturnType<Ffi["open"]> {
    if (names.includes("libgcc_s.so.1") && !this.#symbols.includes("__clear_cache")) {
      throw new JitError("ERR_FEATURE_NOT_ENABLED", "no such library");
    }
    return { name: names[0] ?? "", find: (symbol, signature) => this.#find(symbol, signature) };
  }

  errno(): number {
    return this.#errno;
  }

  view(_address: Address, sizeBytes: number): ArrayBuffer {
    return new ArrayBuffer(sizeBytes);
  }

  detach(): void {
    this.calls.push("detach");
  }

  addressOf(): Address {
    return 4096;
  }

  callable(address: Address): ReturnType<Ffi["callable"]> {
    const call = this.#record(`call ${address}`);
    return { call, fast: call, close: () => undefined };
  }

  callback(): ReturnType<Ffi["callback"]> {
    throw new Error("nothing here calls back");
  }

  #find(symbol: string, signature: NativeSignature): NativeFunction | undefined {
    if (!this.#symbols.includes(symbol)) return undefined;
    if (symbol !== "syscall") return this.#record(symbol);
    assert.equal(signature.fixedParameters, 1);
    return (number, command, ...rest) => {
      assert.equal(number, 283);
      assert.deepEqual(rest, [0, 0]);
      this.calls.push(`membarrier ${String(command)}`);
      this.#errno = this.#membarrierErrno(command as number);
      return this.#errno === 0 ? 0 : -1;
    };
  }

  #record(what: string): NativeFunction {
    return (...args) => {
      this.calls.push(`${what} ${args.join(" ")}`);
    };
  }
}

describe("the instruction cache on AArch64", () => {
  it("is cleared first, then every core is told; the process registers once", () => {
    const ffi = new FakeFfi(["__clear_cache", "syscall"]);
    const cache = instructionCache(ffi, new FakeLibc(), "arm64");
    assert.deepEqual(ffi.calls, [], "nothing is asked of the system before there is code");
    cache.flush(4096, 12);
    cache.flush(8195, 1);
    assert.deepEqual(ffi.calls, [
      "__clear_cache 4096 4108",
      REGISTER,
      SYNC_CORE,
      "__clear_cache 8195 8196",
      SYNC_CORE,
    ]);
  });

  it("does without the barrier where the kernel has none, and doctor says so", () => {
    for (const errno of [Errno.ENOSYS, Errno.EINVAL, Errno.EPERM]) {
      const ffi = new FakeFfi(["__clear_cache", "syscall"], () => errno);
      const cache = instructionCache(ffi, new FakeLibc(), "arm64");
      cache.flush(4096, 12);
      cache.flush(4096, 12);
      assert.deepEqual(ffi.calls, ["__clear_cache 4096 4108", REGISTER, "__clear_cache 4096 4108"]);
      const [flush, barrier] = cache.probe();
      assert.equal(flush?.ok, true);
      assert.equal(barrier?.ok, false);
      assert.equal(barrier.errno, errno);
      assert.match(barrier.detail, /^membarrier: E[A-Z]+ \(\d+\); .*Linux 4\.16/);
    }
  });

  it("a libc without syscall is a kernel without the barrier", () => {
    const cache = instructionCache(new FakeFfi(["__clear_cache"]), new FakeLibc(), "arm64");
    cache.flush(4096, 12);
    assert.equal(cache.probe()[1]?.errno, Errno.ENOSYS);
  });

  it("a barrier that fails although it is there is an error", () => {
    const ffi = new FakeFfi(["__clear_cache", "syscall"], (command) =>
      command === Membarrier.PRIVATE_EXPEDITED_SYNC_CORE ? Errno.ENOMEM : 0,
    );
    const cache = instructionCache(ffi, new FakeLibc(), "arm64");
    const error = throwsJitError("ERR_OUT_OF_MEMORY", () => cache.flush(4096, 12));
    assert.equal(error.syscall, "membarrier");
    assert.equal(error.errno, Errno.ENOMEM);
  });

  it("doctor tells where the routine comes from", () => {
    const about = (symbols: readonly string[]): readonly string[] =>
      instructionCache(new FakeFfi(symbols), new FakeLibc(), "arm64")
        .probe()
        .map(({ ok, detail }) => `${String(ok)}: ${detail}`);
    assert.deepEqual(about(["__clear_cache", "syscall"]), [
      "true: by __clear_cache of libgcc_s.so.1",
      "true: code that one thread writes is safe to run in every other",
    ]);
    assert.match(about(["syscall"])[0] ?? "", /^true: by a routine of this library's own/);
  });
});

describe("where libgcc is missing", () => {
  it("AArch64 gets a routine in a page that is never writable and executable at once", () => {
    const ffi = new FakeFfi(["syscall"]);
    const libc = new FakeLibc();
    const cache = instructionCache(ffi, libc, "arm64");
    cache.flush(4096, 12);
    cache.flush(4096, 4);
    const [page] = libc.mappings;
    assert.ok(page !== undefined);
    assert.equal(libc.mappings.length, 1, "one page serves every flush");
    assert.equal(page.sizeBytes, PAGE);
    assert.equal(page.protection, Protection.READ | Protection.EXEC);
    assert.deepEqual(libc.writableCode, []);
    const routine = `call ${page.start}`;
    assert.deepEqual(ffi.calls, [
      `${routine} 4096 4108`,
      REGISTER,
      SYNC_CORE,
      `${routine} 4096 4100`,
      SYNC_CORE,
    ]);
    // It begins by reading CTR_EL0, and its last instruction is ret.
    const words = new Uint32Array(libc.copiedIn?.buffer ?? new ArrayBuffer(0));
    assert.equal(words[0], 0xd53b_0023);
    assert.equal(words.at(-1), 0xd65f_03c0);
  });

  for (const syscall of ["mmap", "mprotect"] as const) {
    it(`AArch64 without ${syscall} either: an error that names libgcc, and nothing is left`, () => {
      const libc = new FakeLibc();
      libc.refuse(syscall, Errno.EACCES);
      const cache = instructionCache(new FakeFfi(["syscall"]), libc, "arm64");
      const error = throwsJitError("ERR_PERMISSION", () => cache.flush(4096, 12));
      assert.equal(error.syscall, syscall);
      assert.match(error.message, /libgcc_s\.so\.1/);
      assert.deepEqual(libc.leftovers(), []);
      assert.equal(cache.probe()[0]?.ok, false);
    });
  }

  for (const step of ["memcpy", "callable"] as const) {
    it(`AArch64 with an interface that refuses ${step}: nothing is left, however often it is tried`, () => {
      const libc = new FakeLibc();
      const ffi = new FakeFfi(["syscall"]);
      const refuse = (): never => {
        throw new RangeError("refused");
      };
      if (step === "memcpy") libc.memcpyIn = refuse;
      else ffi.callable = refuse;
      const cache = instructionCache(ffi, libc, "arm64");
      for (let round = 0; round < 2; round++) assert.throws(() => cache.flush(4096, 12), /refused/);
      assert.deepEqual(libc.leftovers(), []);
    });
  }

  it("AArch64 with an interface that refuses to call the routine: a JitError that says so", () => {
    const ffi = new FakeFfi(["syscall"]);
    ffi.callable = () => ({
      call: () => {
        throw new TypeError("no such call");
      },
      close: () => undefined,
    });
    const cache = instructionCache(ffi, new FakeLibc(), "arm64");
    throwsJitError("ERR_FEATURE_NOT_ENABLED", () => cache.flush(4096, 12));
  });

  it("another processor: ERR_FEATURE_NOT_ENABLED", () => {
    const cache = instructionCache(new FakeFfi([]), new FakeLibc(), "other");
    throwsJitError("ERR_FEATURE_NOT_ENABLED", () => cache.flush(4096, 12));
    assert.deepEqual(
      cache.probe().map(({ ok }) => ok),
      [false],
    );
  });
});

describe("the instruction cache of other processors", () => {
  it("x86 keeps it coherent: nothing is called", () => {
    const ffi = new FakeFfi(["__clear_cache", "syscall"]);
    const cache = instructionCache(ffi, new FakeLibc(), "x64");
    cache.flush(4096, 12);
    assert.deepEqual(ffi.calls, []);
    assert.equal(cache.probe()[0]?.ok, true);
  });

  it("one that is not known has it cleared by libgcc, without a barrier", () => {
    const ffi = new FakeFfi(["__clear_cache", "syscall"]);
    instructionCache(ffi, new FakeLibc(), "other").flush(4096, 12);
    assert.deepEqual(ffi.calls, ["__clear_cache 4096 4108"]);
  });
});

describe("an error of another kind while libgcc is looked up", () => {
  it("comes through", () => {
    const broken = new FakeFfi([]);
    broken.open = () => {
      throw new RangeError("a bug");
    };
    assert.throws(() => clearCacheOfLibgcc(broken), RangeError);
  });
});

const isArm64Linux = platform.processor === "arm64" && platform.system === "linux";

describe("on this machine", { skip: !isArm64Linux && "it is not AArch64 with Linux" }, () => {
  it("the routine of this library's own takes every range and comes back", () => {
    const ffi = systemFfi();
    const libc = bindLibc(ffi);
    const own = ownClearCache(ffi, libc);
    const address = libc.mmap(0, 65_536, Protection.READ | Protection.WRITE, 0x22, -1, 0);
    for (const [offset, sizeBytes] of [
      [0, 1],
      [1, 1],
      [63, 2],
      [64, 64],
      [5, 4096],
      [0, 65_536],
    ] as const) {
      assert.doesNotThrow(() => own.call(address + offset, address + offset + sizeBytes));
    }
    libc.munmap(address, 65_536);
  });

  it("the kernel offers the barrier", () => {
    const [flush, barrier] = instructionCache(systemFfi(), bindLibc(systemFfi()), "arm64").probe();
    assert.equal(flush?.ok, true, flush?.detail);
    assert.equal(barrier?.ok, true, barrier?.detail);
  });
});

describe("the barrier", () => {
  it("asks the kernel once whether there is one, and believes the answer", () => {
    const commands: number[] = [];
    const call = (command: number): number => {
      commands.push(command);
      return -1;
    };
    const barrier = new CoreBarrier({ call, errno: () => Errno.ENOSYS });
    assert.equal(barrier.register(), Errno.ENOSYS);
    assert.equal(barrier.register(), Errno.ENOSYS);
    barrier.raise();
    assert.deepEqual(commands, [Membarrier.REGISTER_PRIVATE_EXPEDITED_SYNC_CORE]);
  });
});
