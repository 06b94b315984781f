/** JitRuntime: code in, executable span out. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, JitRuntime, toFunction } from "../../../src/index.ts";
import { changesNothing, refuses, throwsJitError, wrong } from "../../support/expectations.ts";
import * as machineCode from "../../support/native-code.ts";
import { someBytes } from "../../support/rows.ts";
import { needs } from "../../support/requirements.ts";

const skip = needs("machineCode");

describe("JitRuntime", () => {
  test("add copies the code: what is returned can be called", { skip }, () => {
    using runtime = new JitRuntime();
    const code = machineCode.ADD.slice();
    const span = runtime.add(code);
    code.fill(0xcc);
    assert.equal(toFunction(span, { parameters: ["i32", "i32"], result: "i32" })(2, 3), 5);
    assert.equal(span.size, runtime.allocator.granularity);
    assert.deepEqual(span.read(0, machineCode.ADD.length), machineCode.ADD);
  });

  test("add(size, emit) tells the code its own address", { skip }, () => {
    using runtime = new JitRuntime();
    const target = runtime.add(machineCode.returnConstant(7));
    const jump = runtime.add(300, (code, rx) => {
      assert.ok(code.length >= 300);
      const instruction = machineCode.jumpFrom(rx, target.rx);
      code.set(instruction);
      return instruction.length;
    });
    assert.equal(jump.size, runtime.allocator.granularity, "what is not kept is given back");
    assert.equal(toFunction(jump, { parameters: [], result: "i32" })(), 7);
  });

  test("emit that returns nothing keeps everything", () => {
    using runtime = new JitRuntime();
    const span = runtime.add(300, (code) => code.set(someBytes(300)));
    assert.equal(span.size, 320);
    assert.deepEqual(span.read(0, 300), someBytes(300));
  });

  test("emit that throws leaves nothing allocated, and its error comes through", () => {
    using runtime = new JitRuntime();
    runtime.add(someBytes(10));
    const own = new Error("no such opcode");
    changesNothing(runtime.allocator, () =>
      assert.throws(
        () =>
          runtime.add(100, () => {
            throw own;
          }),
        (error) => error === own,
      ),
    );
  });

  test("emit that keeps nothing, or too much: ERR_INVALID_ARGUMENT, nothing is allocated", () => {
    using runtime = new JitRuntime();
    runtime.add(someBytes(10));
    for (const kept of [0, 129, -1, 0.5, NaN, "8", null]) {
      refuses(
        runtime.allocator,
        "ERR_INVALID_ARGUMENT",
        () => runtime.add(100, () => wrong<number>(kept)),
        String(kept),
      );
    }
  });

  test("what is no code: ERR_INVALID_ARGUMENT, nothing is allocated", () => {
    using runtime = new JitRuntime();
    runtime.add(someBytes(10));
    for (const code of [
      null,
      undefined,
      "code",
      [1, 2],
      {},
      new Uint8Array(0),
      new ArrayBuffer(4),
      new Float64Array(1),
    ]) {
      refuses(
        runtime.allocator,
        "ERR_INVALID_ARGUMENT",
        () => runtime.add(wrong<Uint8Array>(code)),
        String(code),
      );
    }
    for (const size of [0, -1, NaN, 0.5]) {
      refuses(
        runtime.allocator,
        "ERR_INVALID_ARGUMENT",
        () => runtime.add(size, () => undefined),
        String(size),
      );
    }
    refuses(runtime.allocator, "ERR_TOO_LARGE", () => runtime.add(2 ** 31, () => undefined));
    refuses(runtime.allocator, "ERR_INVALID_ARGUMENT", () => runtime.add(wrong<Uint8Array>(100)));
    refuses(runtime.allocator, "ERR_INVALID_ARGUMENT", () => runtime.add(100, wrong(null)));
  });

  test("code that a getter of its info takes away: ERR_INVALID_ARGUMENT, nothing is allocated", () => {
    for (const mustSucceed of [false, true]) {
      using runtime = new JitRuntime({ maxReservedSize: 1 << 20, reserveForMustSucceed: 1 << 16 });
      const code = new Uint8Array(100);
      const info = {
        mustSucceed,
        get name() {
          structuredClone(code.buffer, { transfer: [code.buffer] });
          return "gone";
        },
      };
      throwsJitError("ERR_INVALID_ARGUMENT", () => runtime.add(code, info));
      assert.equal(runtime.allocator.statistics().allocationCount, 0);
    }
  });

  test("code that a listener to pressure takes away, or whose memory: an error, nothing stays", () => {
    const takers = [
      (_: JitRuntime, code: Uint8Array<ArrayBuffer>) =>
        void structuredClone(code.buffer, { transfer: [code.buffer] }),
      ({ allocator }: JitRuntime) => allocator.reset("hard"),
    ];
    for (const take of takers) {
      using runtime = new JitRuntime({ maxReservedSize: 1 << 16 });
      const code = new Uint8Array(60_000);
      runtime.allocator.onPressure(0.5, () => take(runtime, code));
      throwsJitError(["ERR_INVALID_ARGUMENT", "ERR_RELEASED"], () => runtime.add(code));
      assert.equal(runtime.allocator.statistics().allocationCount, 0);
      runtime.allocator.verify();
    }
  });

  test("names are for people: any string will do, and anything else is refused", () => {
    using runtime = new JitRuntime();
    runtime.add(someBytes(4), { name: "add" });
    runtime.add(someBytes(4), { name: "" });
    runtime.add(someBytes(4), {});
    runtime.add(4, () => undefined, { name: "emitted" });
    for (const info of [null, 1, "name", { name: 1 }, { name: null }]) {
      refuses(
        runtime.allocator,
        "ERR_INVALID_ARGUMENT",
        () => runtime.add(someBytes(4), wrong(info)),
        String(info),
      );
    }
  });

  test("release takes a span or an address, and is as strict as the allocator", () => {
    using runtime = new JitRuntime();
    const first = runtime.add(someBytes(10));
    const second = runtime.add(someBytes(10));
    runtime.add(someBytes(10));
    runtime.release(first);
    runtime.release(second.rx);
    assert.ok(first.isReleased && second.isReleased);
    refuses(runtime.allocator, "ERR_RELEASED", () => runtime.release(first));
    refuses(runtime.allocator, "ERR_NOT_ALLOCATED", () => runtime.release(second.rx));
    refuses(runtime.allocator, "ERR_UNKNOWN_ADDRESS", () => runtime.release(4096));
    refuses(runtime.allocator, "ERR_INVALID_ARGUMENT", () => runtime.release(wrong(null)));
  });

  test("it takes the options of its allocator", () => {
    using runtime = new JitRuntime({ granularity: 256, useDualMapping: false });
    assert.equal(runtime.allocator.granularity, 256);
    const span = runtime.add(someBytes(10));
    assert.equal(span.size, 256);
    assert.equal(span.rx, span.rw);
    throwsJitError("ERR_INVALID_ARGUMENT", () => new JitRuntime(wrong({ granularity: 3 })));
    throwsJitError("ERR_INVALID_ARGUMENT", () => new JitRuntime(wrong({ allocator: {} })));
    throwsJitError("ERR_INVALID_ARGUMENT", () => new JitRuntime(wrong(null)));
  });

  test("its own allocator goes with it, and it may end twice", () => {
    for (const end of ["dispose", Symbol.dispose] as const) {
      const runtime = new JitRuntime();
      const span = runtime.add(someBytes(10));
      runtime[end]();
      runtime[end]();
      assert.ok(span.isReleased);
      throwsJitError("ERR_DISPOSED", () => runtime.add(someBytes(10)));
      throwsJitError("ERR_DISPOSED", () => runtime.allocator.alloc(10));
    }
  });

  test("an allocator it was given stays, and so does what others put there", () => {
    using allocator = new JitAllocator();
    const other = allocator.alloc(64);
    {
      using runtime = new JitRuntime({ allocator });
      assert.equal(runtime.allocator, allocator);
      runtime.add(someBytes(10));
    }
    const runtime = new JitRuntime({ allocator });
    const added = runtime.add(someBytes(10));
    runtime.dispose();
    assert.equal(added.isReleased, true);
    assert.equal(other.isReleased, false);
    assert.equal(allocator.statistics().allocationCount, 1);
    allocator.alloc(64);
    throwsJitError("ERR_DISPOSED", () => runtime.add(someBytes(10)));
    const another = new JitRuntime({ allocator });
    throwsJitError("ERR_DISPOSED", () => another.add(10, () => another.dispose()));
    assert.equal(allocator.statistics().allocationCount, 2, "nothing is left of what was being added");
  });
});
