/**
 * Whatever the foreign function interface throws, at whatever call of whatever operation of an allocator on this machine's own
 * memory: a JitError comes out, or the operation does without; all is as it was, and it works the next time.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { platform } from "../../src/base/platform.ts";
import { guarded } from "../../src/ffi/guard.ts";
import { requireKoffi } from "../../src/ffi/koffi-module.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import { JitAllocator, JitError, toFunction, type JitAllocatorOptions } from "../../src/index.ts";
import type { VirtualMemory } from "../../src/vm/contract.ts";
import { LinuxMemory } from "../../src/vm/linux.ts";
import { linuxNoting } from "../../src/vm/linux/noting.ts";
import { systemFiles } from "../../src/vm/linux/files.ts";
import { instructionCache } from "../../src/vm/linux/instruction-cache.ts";
import { bindLibc } from "../../src/vm/linux/libc.ts";
import { bindMarkCalls } from "../../src/vm/linux/thread-mark.ts";
import { observe } from "../support/expectations.ts";
import { ADD } from "../support/native-code.ts";
import { openDescriptors, ownUsedLines } from "../support/process-state.ts";
import { needs } from "../support/requirements.ts";
import { someBytes } from "../support/rows.ts";
import { ThrowingFfi } from "../support/throwing-ffi.ts";
import { attachOn } from "../support/attach.ts";

/** This machine's memory, through an interface that throws where it is told to. */
function start(refusesViews = false): { readonly ffi: ThrowingFfi; readonly memory: VirtualMemory } {
  const ffi = new ThrowingFfi(systemFfi(), refusesViews);
  const guard = guarded(() => ffi);
  const libc = bindLibc(guard);
  const memory = new LinuxMemory({
    libc,
    files: systemFiles,
    bindMarkCalls: () => bindMarkCalls(guard, platform.processor),
    noting: linuxNoting(guard, platform.processor),
    ffi: guard,
    instructionCache: instructionCache(guard, libc, platform.processor),
  });
  return { ffi, memory };
}

interface Scenario {
  readonly options?: JitAllocatorOptions;
  /** Brings the allocator to where the operation begins, and returns the operation. */
  readonly prepare: (allocator: JitAllocator, memory: VirtualMemory) => () => unknown;
  /** It gives many things back: what a failure in the middle has given back cannot be taken again. */
  readonly givesBack?: true;
}

const KiB = 1024;

const scenarios: Readonly<Record<string, Scenario>> = {
  alloc: { prepare: (allocator) => () => allocator.alloc(100) },
  "alloc of a filled block": {
    options: { fillUnusedMemory: true },
    prepare: (allocator) => () => allocator.alloc(100),
  },
  "alloc with large pages": {
    options: { useLargePages: true },
    prepare: (allocator) => () => allocator.alloc(3 * KiB * KiB),
  },
  "alloc without dual mapping": {
    options: { useDualMapping: false },
    prepare: (allocator) => () => allocator.alloc(100),
  },
  "write, the first": {
    prepare: (allocator) => {
      const span = allocator.alloc(300);
      return () => span.write(10, someBytes(100));
    },
  },
  "write by a callback": {
    prepare: (allocator) => {
      const span = allocator.alloc(300);
      return () =>
        allocator.write(span, (code) => {
          code.set(someBytes(100));
          return 100;
        });
    },
  },
  writeScope: {
    prepare: (allocator) => {
      const span = allocator.alloc(300);
      return () => {
        using scope = allocator.writeScope();
        scope.write(span, 0, someBytes(100));
      };
    },
  },
  read: {
    prepare: (allocator) => {
      const span = allocator.alloc(300);
      return () => span.read();
    },
  },
  "release that unmaps": {
    options: { immediateRelease: true },
    prepare: (allocator) => {
      const span = allocator.alloc(300);
      return () => span.release();
    },
  },
  "release that fills": {
    options: { fillUnusedMemory: true },
    prepare: (allocator) => {
      allocator.alloc(300);
      const span = allocator.alloc(300);
      return () => span.release();
    },
  },
  "shrink that fills": {
    options: { fillUnusedMemory: true },
    prepare: (allocator) => {
      const span = allocator.alloc(16 * KiB);
      return () => span.shrink(100);
    },
  },
  share: {
    prepare: (allocator) => {
      const span = allocator.alloc(300);
      span.write(0, someBytes(100));
      return () => allocator.share();
    },
  },
  "attach and detach": {
    prepare: (_allocator, memory) => {
      const handle = new JitAllocator({}, start().memory).share();
      return () => attachOn(handle, memory).detach();
    },
  },
  "alloc, shared": {
    prepare: (allocator) => {
      allocator.share();
      return () => allocator.alloc(100);
    },
  },
  "write and read, shared": {
    prepare: (allocator) => {
      allocator.share();
      const span = allocator.alloc(300);
      return () => {
        span.write(0, someBytes(100));
        span.read();
      };
    },
  },
  "release that unmaps, shared": {
    options: { immediateRelease: true },
    prepare: (allocator) => {
      allocator.share();
      const span = allocator.alloc(300);
      return () => span.release();
    },
  },
  "release that fills, shared": {
    options: { fillUnusedMemory: true },
    prepare: (allocator) => {
      allocator.share();
      allocator.alloc(300);
      const span = allocator.alloc(300);
      return () => span.release();
    },
  },
  members: {
    prepare: (allocator) => {
      attachOn(allocator.share(), start().memory);
      return () => allocator.members();
    },
  },
  "reset soft": {
    options: { fillUnusedMemory: true },
    prepare: (allocator) => afterGrowth(allocator, () => allocator.reset("soft")),
    givesBack: true,
  },
  "reset hard": {
    prepare: (allocator) => afterGrowth(allocator, () => allocator.reset("hard")),
    givesBack: true,
  },
  "reset hard, shared": {
    prepare: (allocator) => {
      allocator.share();
      return afterGrowth(allocator, () => allocator.reset("hard"));
    },
    givesBack: true,
  },
  dispose: {
    prepare: (allocator) => afterGrowth(allocator, () => allocator.dispose()),
    givesBack: true,
  },
};

function afterGrowth(allocator: JitAllocator, operation: () => void): () => void {
  for (const size of [300, 64 * KiB, 128 * KiB]) allocator.alloc(size).write(0, someBytes(64));
  return operation;
}

/** What the process holds of this library. */
function held(): unknown {
  return { mappings: ownUsedLines().length, descriptors: openDescriptors().length };
}

describe("an interface that throws, on this machine", { skip: needs("linux") }, () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    it(`${name}: at each call, with views and without`, () => {
      const calls = [false, true].map((refusesViews) => walk(scenario, refusesViews));
      assert.ok(Math.max(...calls) > 0, "it makes calls");
    });
  }

  /** Returns how many calls there were. */
  function walk({ options = {}, prepare, givesBack }: Scenario, refusesViews: boolean): number {
    const begin = (): { ffi: ThrowingFfi; allocator: JitAllocator; operation: () => unknown } => {
      const { ffi, memory } = start(refusesViews);
      const allocator = new JitAllocator(options, memory);
      return { ffi, allocator, operation: prepare(allocator, memory) };
    };
    const whole = begin();
    const first = whole.ffi.events.length;
    whole.operation();
    const events = whole.ffi.events.slice(first);
    whole.allocator.dispose();
    const nothing = held();

    for (const [position, event] of events.entries()) {
      const where = `${event} (${position + 1} of ${events.length}${refusesViews ? ", without views" : ""})`;
      const { ffi, allocator, operation } = begin();
      const before = { seen: observe(allocator), held: held() };
      ffi.throwAt(position);
      try {
        operation();
      } catch (error) {
        assert.ok(error instanceof JitError, `${where}: ${String(error)}`);
        assert.ok(error.message.startsWith("Cannot "), error.message);
        if (givesBack === undefined) {
          assert.deepEqual({ seen: observe(allocator), held: held() }, before, where);
        } else allocator.verify();
        operation();
      }
      allocator.verify();
      allocator.dispose();
      assert.deepEqual(held(), nothing, where);
    }
    return events.length;
  }
});

/** koffi, some of whose functions are others while `act` runs. */
function withKoffi(replaced: Readonly<Record<string, unknown>>, act: () => void): void {
  const koffi = requireKoffi();
  const kept = { ...koffi };
  Object.assign(koffi, replaced);
  try {
    act();
  } finally {
    Object.assign(koffi, kept);
  }
}

function refuse(): never {
  throw new TypeError("Unexpected Object value");
}

describe("koffi that throws", { skip: needs("koffi", "machineCode") }, () => {
  const isRefusal = (error: unknown): boolean =>
    error instanceof JitError &&
    error.code === "ERR_FEATURE_NOT_ENABLED" &&
    /^Cannot .*Unexpected Object value/.test(error.message) &&
    error.cause instanceof TypeError;
  // Integers, of which koffi makes the functions on every version of Node; a signature of its own, made by nobody before.
  const signature = { parameters: ["i32", "i32", "u8"], result: "i32" } as const;

  it("toFunction, where no prototype or no function can be made: a JitError, and it works the next time", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(ADD.length);
    span.write(0, ADD);
    for (const step of ["proto", "decode"]) {
      withKoffi({ [step]: refuse }, () => assert.throws(() => toFunction(span, signature), isRefusal));
    }
    assert.equal(toFunction(span, signature)(2, 3, 0), 5);
  });

  it("a call that cannot be made: a JitError; the end of the stack stays the engine's own", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(ADD.length);
    span.write(0, ADD);
    const overflow = (): number => overflow() + 1;
    // Signatures of their own: what was made for one is used again.
    for (const [call, isExpected, result] of [
      [refuse, isRefusal, "u16"],
      [overflow, (error: unknown) => error instanceof RangeError, "i16"],
    ] as const) {
      withKoffi({ decode: () => call }, () => {
        const add = toFunction(span, { ...signature, result });
        assert.throws(() => add(2, 3, 0), isExpected);
      });
    }
  });
});
