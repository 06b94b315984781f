/**
 * Whatever the foreign function interface throws, at whatever call of whatever operation of a fake machine: a JitError comes
 * out, or the operation does without; nothing is left behind, and it works the next time.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import type { NativeFunction } from "../../src/ffi/contract.ts";
import { guarded } from "../../src/ffi/guard.ts";
import type { DualMapping, MappingTag, VirtualMemory } from "../../src/vm/contract.ts";
import { DarwinMemory } from "../../src/vm/darwin.ts";
import { bindLibSystem } from "../../src/vm/darwin/libsystem.ts";
import { LinuxMemory } from "../../src/vm/linux.ts";
import { instructionCache } from "../../src/vm/linux/instruction-cache.ts";
import { bindLibc } from "../../src/vm/linux/libc.ts";
import { WindowsMemory } from "../../src/vm/windows.ts";
import { bindKernel32 } from "../../src/vm/windows/kernel32.ts";
import { bindAdvapi32 } from "../../src/vm/windows/lock-pages.ts";
import { FakeKernel32 } from "../support/fake-kernel32.ts";
import { FakeLibc, type FakeMachine } from "../support/fake-libc.ts";
import { FakeLibSystem } from "../support/fake-libsystem.ts";
import { WITHOUT_ROUTINE } from "../support/fake-noting.ts";
import { FakeMarks } from "../support/fake-marks.ts";
import { InterfaceError, interfaceTo, ThrowingFfi } from "../support/throwing-ffi.ts";

const SIZE = 128 * 1024;
const LARGE_PAGE = 2 * 1024 * 1024;
const TAG: MappingTag = { name: "throws", isGuarded: true };
const LARGE_PAGE_FILES = { "/proc/meminfo": "Hugepagesize:       2048 kB\n" };

/** A fake machine behind an interface that throws. */
interface Machine {
  readonly ffi: ThrowingFfi;
  readonly memory: VirtualMemory;
  readonly leftovers: () => readonly string[];
}

/** The methods of a fake machine as native functions: the texts among the arguments are C's. */
function functionsOf(fake: object, names: readonly string[]): Record<string, NativeFunction> {
  const functions: Record<string, NativeFunction> = {};
  for (const name of names) {
    const method: unknown = Reflect.get(fake, name);
    if (typeof method !== "function") continue;
    functions[name] = (...args) => Reflect.apply(method, fake, args) as unknown;
  }
  return functions;
}

/** Every name that an object's class defines. */
function namesOf(fake: object): readonly string[] {
  return Object.getOwnPropertyNames(Object.getPrototypeOf(fake));
}

function textOf(bytes: unknown): string {
  return new TextDecoder().decode(bytes as Uint8Array).replace("\0", "");
}

function linux(machine: FakeMachine): Machine {
  const fake = new FakeLibc({ ...machine });
  const functions = functionsOf(fake, namesOf(fake));
  for (const name of ["memfd_create", "shm_open", "shm_unlink", "open", "unlink"]) {
    const call = functions[name];
    functions[name] = (text, ...rest) => call?.(textOf(text), ...rest);
  }
  functions["memcpy"] = (to, from, sizeBytes) => {
    if (typeof to === "number") fake.memcpyIn(to, from as Uint8Array, sizeBytes as number);
    else fake.memcpyOut(to as Uint8Array, from as number, sizeBytes as number);
  };
  functions["syscall"] = () => 0; // membarrier
  const ffi = new ThrowingFfi(interfaceTo(functions, () => fake.errno()));
  const guard = guarded(() => ffi);
  const libc = bindLibc(guard);
  const marks = new FakeMarks();
  const memory = new LinuxMemory({
    libc,
    files: fake.files(),
    bindMarkCalls: () => marks.calls(100),
    noting: WITHOUT_ROUTINE,
    ffi: guard,
    // That of the processor which has most to do for a flush.
    instructionCache: instructionCache(guard, libc, "arm64"),
  });
  return {
    ffi,
    memory,
    leftovers: () => {
      // The routine that flushes stays, in a page of its own.
      const routine = fake.mappings.find(
        ({ sizeBytes, protection }) => sizeBytes === 4096 && protection === 5,
      );
      return fake.leftovers().filter((text) => !text.endsWith(`${routine?.start.toString(16)} 4096`));
    },
  };
}

function windows(mayLockPages: boolean): Machine {
  const fake = new FakeKernel32({ mayLockPages });
  const ffi = new ThrowingFfi(interfaceTo(functionsOf(fake, namesOf(fake)), () => 0));
  const guard = guarded(() => ffi);
  const memory = new WindowsMemory({
    kernel32: bindKernel32(guard),
    advapi32: bindAdvapi32(guard),
    noting: WITHOUT_ROUTINE,
    ffi: guard,
  });
  return { ffi, memory, leftovers: () => fake.leftovers() };
}

function darwin(processor: "Intel" | "Apple silicon"): Machine {
  const fake = new FakeLibSystem({ processor });
  const functions = functionsOf(fake, namesOf(fake));
  functions["memcpy"] = () => undefined;
  const ffi = new ThrowingFfi(interfaceTo(functions, () => fake.errno()));
  const guard = guarded(() => ffi);
  const memory = new DarwinMemory({
    libSystem: bindLibSystem(guard),
    ffi: guard,
    processor: { needsFlush: true, switchesJitMemory: processor === "Apple silicon" },
  });
  return { ffi, memory, leftovers: () => fake.leftovers() };
}

/** Each kind of machine, and what is tried on it. */
const machines: Readonly<Record<string, () => Machine>> = {
  Linux: () => linux({}),
  "Linux with large pages": () => linux({ files: LARGE_PAGE_FILES }),
  "Linux with hugetlb pages": () => linux({ files: LARGE_PAGE_FILES, hugetlbPages: 4 }),
  "Linux without memfd": () => linux({ hasMemfd: false }),
  "Linux with files alone": () => linux({ hasMemfd: false, noexec: ["/dev/shm"] }),
  Windows: () => windows(false),
  "Windows with large pages": () => windows(true),
  "an Intel Mac": () => darwin("Intel"),
  "a Mac with Apple silicon": () => darwin("Apple silicon"),
};

interface Operation {
  /** Made before anything throws. */
  readonly prepare?: (memory: VirtualMemory) => unknown;
  readonly run: (memory: VirtualMemory, prepared: unknown) => unknown;
  /** Undoes what `prepare` and `run` made. */
  readonly undo?: (memory: VirtualMemory, result: unknown, prepared: unknown) => void;
  /** Whether it promises to throw nothing at all. */
  readonly isSafe?: true;
}

const unmap =
  (sizeBytes: number): NonNullable<Operation["undo"]> =>
  (memory, address) =>
    memory.release(address as number, sizeBytes);
const unmapTwice =
  (sizeBytes: number): NonNullable<Operation["undo"]> =>
  (memory, mapping) =>
    memory.releaseDualMapping(mapping as DualMapping, sizeBytes);
const unmapPrepared: Operation["undo"] = (memory, _result, prepared) =>
  unmap(SIZE)(memory, prepared, prepared);
const mapped = (memory: VirtualMemory): unknown => memory.alloc(SIZE, { read: true, write: true });

const operations: Readonly<Record<string, Operation>> = {
  info: { run: (memory) => memory.info() },
  largePageSize: { run: (memory) => memory.largePageSize() },
  alloc: { run: mapped, undo: unmap(SIZE) },
  "alloc with large pages": {
    run: (memory) => memory.alloc(LARGE_PAGE, { read: true, write: true, largePages: true }),
    undo: unmap(LARGE_PAGE),
  },
  "alloc with a tag": { run: (memory) => memory.alloc(SIZE, { read: true }, TAG), undo: unmap(SIZE) },
  allocDualMapping: { run: (memory) => memory.allocDualMapping(SIZE, {}), undo: unmapTwice(SIZE) },
  "allocDualMapping as the time before": {
    prepare: (memory) => memory.allocDualMapping(SIZE, {}),
    run: (memory) => memory.allocDualMapping(SIZE, {}),
    undo: (memory, result, prepared) => {
      for (const mapping of [result, prepared]) unmapTwice(SIZE)(memory, mapping, prepared);
    },
  },
  "allocDualMapping with a tag": {
    run: (memory) => memory.allocDualMapping(SIZE, {}, TAG),
    undo: unmapTwice(SIZE),
  },
  "allocDualMapping with large pages": {
    run: (memory) => memory.allocDualMapping(LARGE_PAGE, { largePages: true }),
    undo: unmapTwice(LARGE_PAGE),
  },
  release: { prepare: mapped, run: (memory, address) => memory.release(address as number, SIZE) },
  releaseDualMapping: {
    prepare: (memory) => memory.allocDualMapping(SIZE, {}),
    run: (memory, mapping) => memory.releaseDualMapping(mapping as DualMapping, SIZE),
  },
  protect: {
    prepare: mapped,
    run: (memory, address) => memory.protect(address as number, SIZE, { read: true, execute: true }),
    undo: unmapPrepared,
  },
  flushInstructionCache: {
    prepare: mapped,
    run: (memory, address) => memory.flushInstructionCache(address as number, 64),
    undo: unmapPrepared,
  },
  copyIn: {
    prepare: mapped,
    run: (memory, address) => memory.copyIn(address as number, new Uint8Array(8), 8),
    undo: unmapPrepared,
  },
  copyOut: {
    prepare: mapped,
    run: (memory, address) => memory.copyOut(address as number, new Uint8Array(8)),
    undo: unmapPrepared,
  },
  openView: {
    prepare: mapped,
    run: (memory, address) => memory.openView(address as number, SIZE),
    undo: unmapPrepared,
  },
  hardenedRuntimeInfo: { run: (memory) => memory.hardenedRuntimeInfo() },
  probe: {
    prepare: (memory) => [memory.info(), memory.largePageSize(), memory.hardenedRuntimeInfo()],
    run: (memory) => memory.probe(),
    isSafe: true,
  },
  limits: { run: (memory) => memory.limits(), isSafe: true },
  "sharing.prepare": { run: (memory) => memory.sharing?.prepare() },
  "sharing.isAlive": { run: (memory) => memory.sharing?.isAlive({ id: 99, mark: 0 }) },
  "sharing.reclaim": { run: (memory) => memory.sharing?.reclaim(TAG.name, []), isSafe: true },
};

/** What a machine of these fakes cannot do, and refuses as a bug of whoever calls. */
function isBeyond(name: string, machine: string): boolean {
  return machine.startsWith("Windows") && name.startsWith("copy");
}

for (const [machine, start] of Object.entries(machines)) {
  describe(`an interface that throws, on ${machine}`, () => {
    for (const [name, { prepare, run, undo, isSafe }] of Object.entries(operations)) {
      if (isBeyond(name, machine)) continue;
      it(`${name}: at each call`, () => {
        const begin = (): Machine & { readonly prepared: unknown; readonly before: readonly string[] } => {
          const begun = start();
          const prepared = prepare?.(begun.memory);
          return { ...begun, prepared, before: begun.leftovers() };
        };
        const whole = begin();
        const first = whole.ffi.events.length;
        run(whole.memory, whole.prepared);
        const events = whole.ffi.events.slice(first);
        for (const [position, event] of events.entries()) {
          const where = `${event} (${position + 1} of ${events.join(", ")})`;
          const { ffi, memory, prepared, before, leftovers } = begin();
          ffi.throwAt(position);
          let result: unknown;
          try {
            result = run(memory, prepared);
          } catch (error) {
            assert.ok(error instanceof JitError, `${where}: ${String(error)}`);
            assert.equal(isSafe, undefined, `${where}: it promises not to throw`);
            assert.ok(rootOf(error) instanceof InterfaceError || error.syscall !== undefined, where);
            const after = leftovers();
            assert.ok(
              after.every((text) => before.includes(text)),
              `${where} left ${after.join(", ")}, and before was ${before.join(", ")}`,
            );
            // It was a moment's: the same works now.
            result = run(memory, prepared);
          }
          undo?.(memory, result, prepared);
          assert.deepEqual(leftovers(), [], where);
        }
      });
    }
  });
}

/** The error that led to this one, and to that one. */
function rootOf(error: JitError): unknown {
  return error.cause instanceof JitError ? rootOf(error.cause) : error.cause;
}
