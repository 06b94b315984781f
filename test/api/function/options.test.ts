/** The options of toFunction: a name, and an entry inside the span. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { JitAllocator, JitRuntime, toFunction, type FunctionOptions, type Span } from "../../../src/index.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";
import * as machineCode from "../../support/native-code.ts";
import { needs } from "../../support/requirements.ts";

const signature = { parameters: ["i32", "i32"], result: "i32" } as const;

function add(allocator: JitAllocator, code: Uint8Array): Span {
  const span = allocator.alloc(code.length);
  span.write(0, code);
  return span;
}

describe("the name of a function", { skip: needs("machineCode") }, () => {
  test("is the one it is given, or the one its code was added with", () => {
    using runtime = new JitRuntime();
    const named = runtime.add(machineCode.ADD, { name: "sum" });
    const nameless = runtime.add(machineCode.ADD);
    assert.equal(toFunction(named, signature).name, "sum");
    assert.equal(toFunction(named, signature, { name: "plus" }).name, "plus");
    assert.equal(toFunction(nameless, signature).name, "");
    assert.equal(toFunction(nameless, signature, {}).name, "");
    for (const name of ["", "two words", '"];process.exit(9);//', "__proto__", "\u2028`${name}`"]) {
      const call = toFunction(nameless, signature, { name });
      assert.equal(call.name, name);
      assert.equal(call(20, 22), 42);
      assert.equal(call.length, 2);
    }
  });

  test("is in the stack trace of what a call throws", () => {
    using runtime = new JitRuntime();
    const call = toFunction(runtime.add(machineCode.ADD, { name: "sum_of_two" }), signature);
    const error = throwsJitError("ERR_INVALID_ARGUMENT", () => call(wrong("1"), 2));
    assert.match(error.stack ?? "", /sum_of_two/);
  });

  test("is in the profile of a process that is started to be profiled", { skip: needs("cpuProfile") }, () => {
    const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-profile-"));
    try {
      const child = path.join(import.meta.dirname, "profiled-child.js");
      const run = spawnSync(process.execPath, ["--cpu-prof", `--cpu-prof-dir=${folder}`, child], {
        encoding: "utf8",
      });
      assert.equal(run.stdout, "42\n", run.stderr);
      const [file = ""] = readdirSync(folder);
      assert.match(readFileSync(path.join(folder, file), "utf8"), /"functionName":"hot \\"sum\\""/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("an entry inside a span", { skip: needs("machineCode") }, () => {
  /** Two functions, 64 bytes apart. */
  function twoFunctions(allocator: JitAllocator): Span {
    const span = allocator.alloc(128);
    span.write(0, machineCode.returnConstant(1));
    span.write(64, machineCode.returnConstant(2));
    return span;
  }
  const constant = { parameters: [], result: "i32" } as const;

  test("runs what is there, beside the function at the start", () => {
    using allocator = new JitAllocator();
    const span = twoFunctions(allocator);
    const [first, second] = [0, 64].map((offset) => toFunction(span, constant, { offset }));
    for (let round = 0; round < 100; round++) assert.deepEqual([first?.(), second?.()], [1, 2]);
  });

  test("ends with the span, and where the span is shrunk below it", () => {
    using allocator = new JitAllocator();
    const shrunk = twoFunctions(allocator);
    const calls = [0, 64].map((offset) => toFunction(shrunk, constant, { offset }));
    assert.deepEqual(
      calls.map((call) => call()),
      [1, 2],
    );
    shrunk.shrink(64);
    assert.equal(calls[0]?.(), 1);
    throwsJitError("ERR_RELEASED", () => calls[1]?.());
    const released = twoFunctions(allocator);
    const second = toFunction(released, constant, { offset: 64 });
    released.release();
    throwsJitError("ERR_RELEASED", () => second());
  });

  test("is not taken for the start where the span was looked up by its address", () => {
    using allocator = new JitAllocator();
    const span = twoFunctions(allocator);
    const inside = allocator.query(span.rx + 64);
    assert.equal(inside.rx, span.rx, "query gives the whole span");
    const error = throwsJitError("ERR_INTERIOR_ADDRESS", () => toFunction(inside, constant));
    assert.match(error.message, /pass \{ offset: 64 \} .* or \{ offset: 0 \}/);
    throwsJitError("ERR_INTERIOR_ADDRESS", () => toFunction(inside, constant, { name: "named" }));
    assert.equal(toFunction(inside, constant, { offset: 64 })(), 2);
    assert.equal(toFunction(inside, constant, { offset: 0 })(), 1);
    assert.equal(toFunction(allocator.query(span.rx), constant)(), 1);
  });

  test("options that are none", () => {
    using allocator = new JitAllocator();
    const span = add(allocator, machineCode.ADD);
    for (const offset of [-1, 0.5, NaN, span.size, 2 ** 53, "1", 1n, null])
      throwsJitError("ERR_INVALID_ARGUMENT", () => toFunction(span, signature, { offset: wrong(offset) }));
    for (const name of [1, null, {}, Symbol("name")])
      throwsJitError("ERR_INVALID_ARGUMENT", () => toFunction(span, signature, { name: wrong(name) }));
    for (const options of [null, 1, "name"])
      throwsJitError("ERR_INVALID_ARGUMENT", () =>
        toFunction(span, signature, wrong<FunctionOptions>(options)),
      );
  });
});
