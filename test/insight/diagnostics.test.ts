/** Events for subscribers of node:diagnostics_channel. */
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { describe, test } from "node:test";
import { JitAllocator, JitError, JitRuntime, type JitDiagnostics } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { throwsJitError } from "../support/expectations.ts";

const names = [
  "block-mapped",
  "block-unmapped",
  "refused",
  "reset",
  "runtime-add",
  "runtime-release",
] as const;

/** Runs an action, and returns what is told until all microtasks are done. */
async function told(act: () => void, onMessage?: () => void): Promise<[name: string, message: unknown][]> {
  const messages: [string, unknown][] = [];
  const listeners = names.map((name) => {
    const listener = (message: unknown): void => {
      messages.push([name, message]);
      onMessage?.();
    };
    subscribe(`jit-allocator:${name}`, listener);
    return { name, listener };
  });
  try {
    act();
    assert.deepEqual(messages, [], "nothing is delivered in the middle of an operation");
    await new Promise(setImmediate);
  } finally {
    for (const { name, listener } of listeners) unsubscribe(`jit-allocator:${name}`, listener);
  }
  return messages;
}

function makeAllocator(): JitAllocator {
  return new JitAllocator({}, new SimulatedMemory());
}

describe("diagnostics", () => {
  test("tell of blocks as they come and go, and of resets", async () => {
    const allocator = makeAllocator();
    const messages = await told(() => {
      allocator.alloc(64);
      allocator.alloc(64, { kind: "data" });
      allocator.reset("hard");
    });
    const [code, data] = messages.map(
      ([, message]) => message as JitDiagnostics["jit-allocator:block-mapped"],
    );
    assert.equal(code?.kind, "code");
    assert.equal(code.size, allocator.blockSize);
    assert.notEqual(code.rx, code.rw);
    assert.equal(data?.kind, "data");
    assert.deepEqual(new Set(messages.slice(2, 4).map(([, message]) => message)), new Set([code, data]));
    assert.deepEqual(
      messages.map(([name]) => name),
      ["block-mapped", "block-mapped", "block-unmapped", "block-unmapped", "reset"],
    );
    assert.deepEqual(messages[4]?.[1], { policy: "hard" });
  });

  test("tell of refusals, and not of what was only looked up", async () => {
    const allocator = makeAllocator();
    let thrown: unknown;
    const messages = await told(() => {
      assert.throws(
        () => allocator.release(0x1234),
        (error) => {
          thrown = error;
          return error instanceof JitError;
        },
      );
      assert.equal(allocator.nameOf(0x1234), undefined);
      assert.equal(new JitRuntime({ allocator }).codeOf(0x1234), undefined);
    });
    assert.deepEqual(
      messages.map(([name]) => name),
      ["refused"],
    );
    assert.equal((messages[0]?.[1] as { error: unknown }).error, thrown);
  });

  for (const isShared of [false, true]) {
    test(`tell of what must succeed only if it does not, ${isShared ? "shared" : "in one thread"}`, async () => {
      const memory = new SimulatedMemory({ hasRanges: true });
      const options = { maxReservedSize: 1 << 17, reserveForMustSucceed: 1 << 16 };
      using allocator = new JitAllocator(options, memory);
      if (isShared) allocator.share();
      const surely = { mustSucceed: true };
      const names = (messages: readonly [string, unknown][]): string[] => messages.map(([name]) => name);
      const first = await told(() => allocator.alloc(40_000, surely));
      assert.deepEqual(names(first), ["block-mapped", "block-mapped"], "the reserve's, and its own");
      assert.deepEqual(await told(() => allocator.alloc(40_000, surely)), [], "from the reserve");
      for (const [size, code] of [
        [40_000, "ERR_OUT_OF_MEMORY"],
        [0, "ERR_INVALID_ARGUMENT"],
      ] as const) {
        let error: unknown;
        const messages = await told(() => {
          error = throwsJitError(code, () => allocator.alloc(size, surely));
        });
        assert.deepEqual(messages, [["refused", { error }]]);
      }
      const late = await told(() => assert.throws(() => allocator.release(1)));
      assert.deepEqual(names(late), ["refused"], "others are told of as ever");
    });
  }

  test("tell of no refusal of a block where a smaller one was had", async () => {
    const memory = new SimulatedMemory({ hasRanges: true });
    using allocator = new JitAllocator({}, memory);
    for (let times = 0; times < 2; times++) allocator.alloc(60_000);
    const { messages, size } = await refuseBlocks(1);
    assert.deepEqual(
      messages.map(([name]) => name),
      ["block-mapped"],
    );
    assert.equal(size, 1 << 16);
    const { messages: refused } = await refuseBlocks(2);
    assert.deepEqual(
      refused.map(([name]) => name),
      ["refused"],
      "none was had",
    );

    /** Allocates what needs a block, while the system refuses the first ones. */
    async function refuseBlocks(count: number): Promise<{ messages: [string, unknown][]; size: number }> {
      for (let index = 0; index < count; index++) memory.failAfter("commit", 0, "ERR_OUT_OF_MEMORY");
      const messages = await told(() => {
        if (count === 1) allocator.alloc(60_000);
        else throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.alloc(60_000));
      });
      memory.clearFaults();
      return { messages, size: allocator.blocks().at(-1)?.size ?? 0 };
    }
  });

  test("tell of what a runtime adds and releases, and never of alloc and release", async () => {
    const allocator = makeAllocator();
    allocator.alloc(64); // maps the block
    const runtime = new JitRuntime({ allocator });
    let added: unknown;
    const messages = await told(() => {
      const span = runtime.add(new Uint8Array(10), { name: "add" });
      added = span.rx;
      runtime.release(span);
      allocator.alloc(64).release();
    });
    assert.deepEqual(messages, [
      ["runtime-add", { rx: added, size: 10, name: "add" }],
      ["runtime-release", { rx: added, name: "add" }],
    ]);
  });

  test("find the allocator free to use, also a shared one", async () => {
    const allocator = makeAllocator();
    allocator.share();
    let count = 0;
    const messages = await told(
      () => {
        allocator.alloc(64);
      },
      () => {
        allocator.alloc(64).release();
        count = allocator.statistics().allocationCount;
      },
    );
    assert.equal(messages.length, 1);
    assert.equal(count, 1);
  });

  test("go on where a span is shared, and end with the subscription", async () => {
    const allocator = makeAllocator();
    assert.equal((await told(() => allocator.alloc(64).release())).length, 1);
    const silent: unknown[] = [];
    const listener = (message: unknown): void => void silent.push(message);
    subscribe("jit-allocator:reset", listener);
    unsubscribe("jit-allocator:reset", listener);
    allocator.reset();
    await new Promise(setImmediate);
    assert.deepEqual(silent, []);
  });
});
