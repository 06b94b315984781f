/**
 * The promise of one range, really, on every runtime: any two allocations lie less than 2 GiB apart, whatever else the
 * process maps before and in between.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { JitAllocator } from "../../../src/index.ts";
import { needs } from "../../support/requirements.ts";

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const REACH = 2 * GiB;

/** The lowest address and the highest of what an allocator has handed out. */
class Extent {
  lowest = Infinity;
  highest = 0;

  add(...addresses: readonly number[]): void {
    this.lowest = Math.min(this.lowest, ...addresses);
    this.highest = Math.max(this.highest, ...addresses);
  }

  /** Any two of them: less than 2 GiB apart, and each calls the other. */
  check(allocator: JitAllocator, what: string): void {
    const { lowest, highest } = this;
    assert.ok(highest - lowest < REACH, `${what}: ${highest - lowest} bytes`);
    assert.ok(allocator.range);
    assert.ok(
      lowest >= allocator.range.start && highest < allocator.range.start + allocator.range.size,
      what,
    );
  }
}

/** Everything that a program may map beside: each maps addresses where the system likes. */
const NEIGHBOURS: Readonly<Record<string, () => unknown>> = {
  "an ArrayBuffer of 512 MiB": () => new ArrayBuffer(512 * MiB),
  "a WebAssembly memory, of which the runtime may reserve 8 GiB": () =>
    new WebAssembly.Memory({ initial: 16, maximum: 65_536 }),
  "a SharedArrayBuffer that may grow to 1 GiB": () => new SharedArrayBuffer(MiB, { maxByteLength: GiB }),
};

describe("any two allocations lie less than 2 GiB apart", { skip: needs("linux") }, () => {
  test("with 1.9 GiB allocated, 40 allocators before, and large buffers, WebAssembly and workers in between", async () => {
    const earlier = Array.from({ length: 40 }, () => {
      const allocator = new JitAllocator();
      const extent = new Extent();
      for (let count = 0; count < 8; count++) extent.add(allocator.allocAddress(MiB / 4));
      return { allocator, extent };
    });
    const neighbours: unknown[] = [];
    const allocator = new JitAllocator();
    const handle = allocator.share();
    const extent = new Extent();
    let allocatedBytes = 0;
    const allocate = (count: number): void => {
      for (let index = 0; index < count; index++) extent.add(allocator.allocAddress(MiB));
      allocatedBytes += count * MiB;
    };
    const workers: Worker[] = [];
    try {
      for (let turn = 0; turn < 4; turn++) {
        allocate(400);
        for (const make of Object.values(NEIGHBOURS)) neighbours.push(make());
        // What is made now lies where there is room left; so does what the older ones still need.
        for (const other of [earlier[turn], earlier[39 - turn]])
          for (let count = 0; count < 4; count++) other?.extent.add(other.allocator.allocAddress(MiB));
        const worker = new Worker(new URL("reach-child.js", import.meta.url), { workerData: handle });
        workers.push(worker);
        const [addresses] = (await once(worker, "message")) as [readonly number[]];
        extent.add(...addresses);
        allocatedBytes += addresses.length * MiB;
        if (turn % 2 === 0) await worker.terminate();
      }
      assert.ok(allocatedBytes >= 1900 * MiB, String(allocatedBytes / MiB));
      extent.check(allocator, "the allocator with 1.9 GiB");
      assert.ok(allocator.reaches(extent.lowest, extent.highest) || process.arch !== "x64");
      assert.ok(allocator.reaches(extent.highest, extent.lowest) || process.arch !== "x64");
      for (const [index, other] of earlier.entries())
        other.extent.check(other.allocator, `allocator ${index}`);
      allocator.verify();
    } finally {
      for (const worker of workers) await worker.terminate();
      for (const other of earlier) other.allocator.dispose();
      allocator.dispose();
    }
    assert.equal(neighbours.length, 12);
  });
});
