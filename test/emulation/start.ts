/**
 * Loaded first (`--import`) in every process and thread that an emulator runs for the tests: makes up for what
 * emulation lacks, so that tests need to know nothing of it. `npm run test:arm64` says in the environment what is
 * lacking.
 */
import { LinuxMemory } from "../../src/vm/linux.ts";
import { ClearedCache } from "../../src/vm/linux/instruction-cache.ts";

/** The system cannot run a program of the emulated processor: tests start this one, which starts the emulator. */
const launcher = process.env["JIT_ALLOCATOR_TEST_LAUNCHER"];
if (launcher !== undefined) process.execPath = launcher;

if (process.env["JIT_ALLOCATOR_TEST_STALE_CODE"] === "1") keepTranslationsFresh();

/**
 * qemu-user before 8.1 goes on with its translation of code that was overwritten through another view of the memory,
 * whatever the program does to the instruction cache. It forgets a translation when the page's protection changes.
 * So each flush of the library's also takes away the right to execute, and gives it back. What the library does not
 * flush stays stale: that the tests pass says that it flushes what it must.
 */
function keepTranslationsFresh(): void {
  /* eslint-disable @typescript-eslint/unbound-method -- each is called with the `this` it belongs to */
  const { allocDualMapping, releaseDualMapping } = LinuxMemory.prototype;
  const { flush } = ClearedCache.prototype;
  /* eslint-enable @typescript-eslint/unbound-method */
  /** The executable views, and how to change their protection. Other memory is written where it is executed. */
  const views = new Map<number, { readonly end: number; readonly memory: LinuxMemory }>();

  LinuxMemory.prototype.allocDualMapping = function (...args) {
    const mapping = allocDualMapping.apply(this, args);
    views.set(mapping.rx, { end: mapping.rx + args[0], memory: this });
    return mapping;
  };
  LinuxMemory.prototype.releaseDualMapping = function (...args) {
    releaseDualMapping.apply(this, args);
    views.delete(args[0].rx);
  };
  ClearedCache.prototype.flush = function (address, sizeBytes) {
    flush.call(this, address, sizeBytes);
    for (const [rx, { end, memory }] of views) {
      if (address < rx || address >= end) continue;
      const { pageSize } = memory.info();
      const first = address - (address % pageSize);
      const rangeBytes = Math.ceil((address + sizeBytes - first) / pageSize) * pageSize;
      memory.protect(first, rangeBytes, { read: true });
      memory.protect(first, rangeBytes, { read: true, execute: true });
    }
  };
}
