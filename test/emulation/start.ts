/**
 * Loaded first (`--import`) in every process and thread that an emulator runs for the tests: makes up for what
 * emulation lacks, so that tests need to know nothing of it. `npm run test:arm64` says in the environment what is
 * lacking.
 */
import { LinuxMemory } from "../../src/vm/linux.ts";
import { ClearedCache } from "../../src/vm/linux/instruction-cache.ts";
import { LinuxRanges } from "../../src/vm/linux/range.ts";
import { systemMemory } from "../../src/vm/select.ts";

/** The system cannot run a program of the emulated processor: tests start this one, which starts the emulator. */
const launcher = process.env["JIT_ALLOCATOR_TEST_LAUNCHER"];
if (launcher !== undefined) {
  process.execPath = launcher;
  keepMappingsApart();
}

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
  const { reserve, release } = LinuxRanges.prototype;
  const { flush } = ClearedCache.prototype;
  /* eslint-enable @typescript-eslint/unbound-method */
  /** The executable views: where each ends. Other memory is written where it is executed. */
  const views = new Map<number, number>();

  LinuxMemory.prototype.allocDualMapping = function (...args) {
    const mapping = allocDualMapping.apply(this, args);
    views.set(mapping.rx, mapping.rx + args[0]);
    return mapping;
  };
  LinuxMemory.prototype.releaseDualMapping = function (...args) {
    releaseDualMapping.apply(this, args);
    views.delete(args[0].rx);
  };
  LinuxRanges.prototype.reserve = function (request) {
    const range = reserve.call(this, request);
    if ("rx" in range && range.rx !== range.rw) views.set(range.rx, range.rx + range.sizeBytes);
    return range;
  };
  LinuxRanges.prototype.release = function (...args) {
    release.apply(this, args);
    views.delete(args[0].rx);
  };
  ClearedCache.prototype.flush = function (address, sizeBytes) {
    flush.call(this, address, sizeBytes);
    const memory = systemMemory();
    for (const [rx, end] of views) {
      if (address < rx || address >= end) continue;
      const { pageSize } = memory.info();
      const first = address - (address % pageSize);
      const rangeBytes = Math.ceil((address + sizeBytes - first) / pageSize) * pageSize;
      memory.protect(first, rangeBytes, { read: true });
      memory.protect(first, rangeBytes, { read: true, execute: true });
    }
  };
}

/**
 * Of the system's list of mappings, qemu-user before 8.2 leaves out those that it takes to be its own. The system joins
 * what lies side by side and may be accessed alike, so that memory of the program's that happens to touch memory of
 * qemu's is left out too. A page on either side that nobody may access keeps them apart.
 */
function keepMappingsApart(): void {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- each is called with the `this` it belongs to
  const { alloc, release } = LinuxMemory.prototype;
  /** The size of the memory between two such pages, by its address. */
  const apart = new Map<number, number>();

  LinuxMemory.prototype.alloc = function (sizeBytes, flags, tag) {
    if (flags.largePages === true || tag !== undefined) return alloc.call(this, sizeBytes, flags, tag);
    const { pageSize } = this.info();
    const first = alloc.call(this, sizeBytes + 2 * pageSize, flags);
    this.protect(first, pageSize, {});
    this.protect(first + pageSize + sizeBytes, pageSize, {});
    apart.set(first + pageSize, sizeBytes);
    return first + pageSize;
  };
  LinuxMemory.prototype.release = function (address, sizeBytes, tag) {
    if (apart.get(address) !== sizeBytes) {
      release.call(this, address, sizeBytes, tag);
      return;
    }
    const { pageSize } = this.info();
    release.call(this, address - pageSize, sizeBytes + 2 * pageSize);
    apart.delete(address);
  };
}
