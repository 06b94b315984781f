/** What is recorded of an allocator is what it did: replayed, it comes to the same allocations. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { OperationKind, readTrace } from "../../src/cli/trace.ts";
import { JitAllocator, JitRuntime, type SpanKind } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { attachOn } from "../support/attach.ts";
import { runCli } from "../support/cli.ts";
import { runToEnd } from "../support/ended.ts";
import { throwsJitError, wrong } from "../support/expectations.ts";
import { Random } from "../support/random.ts";
import { needs } from "../support/requirements.ts";

const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-traces-"));
after(() => rmSync(folder, { recursive: true }));

const child = path.join(import.meta.dirname, "recording-child.js");

/** An allocation, as a trace or a snapshot tells of it. */
type Facts = readonly [rx: number, size: number, kind: SpanKind, name: string | undefined];

/** What is live at the end of a trace; sizes as they were asked for. Nothing in it may be done to what is not live. */
function liveAtEnd(text: string): readonly Facts[] {
  const live = new Map<string, { size: number; rx: number; kind: SpanKind; name: string | undefined }>();
  const find = (id: string): { size: number; rx: number; kind: SpanKind; name: string | undefined } => {
    const found = live.get(id);
    assert.ok(found !== undefined, `ID ${id} is not live`);
    return found;
  };
  for (const line of text.trimEnd().split("\n")) {
    const [word, first = "", second = "", ...rest] = line.split(" ");
    if (word === "a") {
      assert.ok(!live.has(first), line);
      live.set(first, { size: Number(second), rx: 0, kind: "code", name: undefined });
    } else if (word === "f") {
      find(first);
      live.delete(first);
    } else if (word === "s") {
      find(first).size = Number(second);
    } else if (word === "#" && first === "at") {
      const [address, kind, ...name] = rest;
      const known = find(second);
      known.rx = Number(address);
      known.kind = kind as SpanKind;
      known.name = name.length === 0 ? undefined : name.join(" ");
    }
  }
  return [...live.values()]
    .map(({ rx, size, kind, name }): Facts => [rx, size, kind, name])
    .sort(([one], [other]) => one - other);
}

/** What is live in an allocator, where the sizes of a trace are rounded as it does. */
function liveIn(allocator: JitAllocator): readonly Facts[] {
  const { spans, blocks } = allocator.snapshot();
  return spans.map(({ rx, size, block, name }) => [rx, size, blocks[block]?.kind ?? "code", name]);
}

function rounded(facts: readonly Facts[], granularity = 64): readonly Facts[] {
  return facts.map(([rx, size, kind, name]) => [rx, Math.ceil(size / granularity) * granularity, kind, name]);
}

/** Records into a text. */
function record(allocator: JitAllocator): { text: string; end: () => void } {
  const recorded = { text: "", end: () => recording[Symbol.dispose]() };
  const recording = allocator.record({ write: (text) => void (recorded.text += text) });
  return recorded;
}

/** The lines that are operations. */
function operationsOf(text: string): readonly string[] {
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

/** Does something random with each of these, which are one shared allocator, or one alone. */
function churn(allocators: readonly JitAllocator[], random: Random, steps: number): void {
  const live: number[] = [];
  for (let step = 0; step < steps; step++) {
    const allocator = allocators[random.below(allocators.length)] ?? assert.fail();
    const at = random.below(Math.max(1, 2 * live.length));
    const address = live[at];
    const size = 1 + random.below(random.below(10) === 0 ? 50_000 : 1000);
    if (address === undefined) {
      const kind = (["code", "constants", "data"] as const)[random.below(3)] ?? "code";
      const how = random.below(4);
      if (how === 0) live.push(allocator.allocAddress(size));
      else if (how === 1) live.push(allocator.alloc(size, { kind }).rx);
      else if (how === 2) live.push(allocator.alloc(size, { kind, name: `f${step} (x)` }).rx);
      else
        live.push(
          new JitRuntime({ allocator }).add(size, () => 1 + random.below(size), { name: "added" }).rx,
        );
    } else if (random.below(4) === 0) {
      allocator.shrink(address, 1 + random.below(allocator.query(address).size));
    } else if (random.below(100) === 0) {
      allocator.reset(random.below(2) === 0 ? "soft" : "hard");
      live.length = 0;
    } else if (random.below(3) === 0) {
      throwsJitError("ERR_UNKNOWN_ADDRESS", () => allocator.release(1));
    } else {
      const span = allocator.query(address);
      const how = random.below(4);
      if (how === 0) allocator.release(span);
      else if (how === 1) allocator.release(address);
      else if (how === 2) span.shrink(0);
      else span[Symbol.dispose]();
      live[at] = live.at(-1) ?? 0;
      live.pop();
    }
  }
}

for (const sharing of ["not shared", "shared", "shared while it is recorded"]) {
  describe(`a recording of an allocator, ${sharing}`, () => {
    function makeAllocator(memory = new SimulatedMemory({ hasRanges: true }), options = {}): JitAllocator {
      const allocator = new JitAllocator(options, memory);
      if (sharing === "shared") allocator.share();
      return allocator;
    }

    test("of any operations comes to what is live", () => {
      for (const options of [{}, { useRange: false, disableInitialPadding: true }]) {
        const allocator = makeAllocator(undefined, options);
        churn([allocator], new Random(1), 300);
        const recorded = record(allocator);
        churn([allocator], new Random(2), 300);
        if (sharing === "shared while it is recorded") allocator.share();
        churn([allocator], new Random(3), 1000);
        assert.deepEqual(rounded(liveAtEnd(recorded.text)), liveIn(allocator));
        assert.ok(operationsOf(recorded.text).length > 500);
        const { operationCount } = readTrace("x", new TextEncoder().encode(recorded.text));
        assert.equal(operationCount, operationsOf(recorded.text).length);
        recorded.end();
        const { text } = recorded;
        churn([allocator], new Random(4), 100);
        assert.equal(recorded.text, text, "it has ended");
      }
    });

    test("has what a listener to pressure does behind the allocation that called it", () => {
      const allocator = makeAllocator(undefined, { maxReservedSize: 1 << 20 });
      const runtime = new JitRuntime({ allocator });
      const spans = Array.from({ length: 10 }, () => allocator.alloc(40_000));
      const recorded = record(allocator);
      if (sharing === "shared while it is recorded") allocator.share();
      allocator.onPressure(0.5, () => {
        spans.shift()?.release();
        allocator.release(newest());
        spans.push(allocator.alloc(100, { name: "from within" }));
      });
      const newest = (): number => allocator.snapshot().spans.find(({ size }) => size >= 200_000)?.rx ?? 0;
      assert.ok(allocator.alloc(200_000).isReleased);
      runtime.add(new Uint8Array(100));
      assert.deepEqual(
        operationsOf(recorded.text)
          .slice(-5)
          .map(([word]) => word),
        ["a", "f", "f", "a", "a"],
      );
      assert.deepEqual(rounded(liveAtEnd(recorded.text)), liveIn(allocator));
    });

    for (const [how, allocate] of Object.entries({
      alloc: (allocator: JitAllocator) => allocator.alloc(600_000),
      allocAddress: (allocator: JitAllocator) => allocator.allocAddress(600_000),
      "runtime.add": (allocator: JitAllocator) =>
        new JitRuntime({ allocator }).add(new Uint8Array(600_000), { name: "added" }),
      "a part of a module": (allocator: JitAllocator) => allocator.module().code(600_000),
    })) {
      test(`has an allocation once in whose listener to pressure others are refused: ${how}`, () => {
        const allocator = makeAllocator(undefined, { maxReservedSize: 1 << 20 });
        const recorded = record(allocator);
        if (sharing === "shared while it is recorded") allocator.share();
        const refused: (() => unknown)[] = [
          () => allocator.alloc(900_000, { kind: "data" }),
          () => allocator.alloc(900_000, { mustSucceed: true }),
          () => allocator.allocAddress(900_000),
          () => allocator.module().data(900_000),
          () => new JitRuntime({ allocator }).add(new Uint8Array(900_000)),
        ];
        let told = 0;
        allocator.onPressure(0.5, () => {
          told += 1;
          for (const act of refused) throwsJitError("ERR_OUT_OF_MEMORY", act);
        });
        allocate(allocator);
        assert.equal(told, 1);
        assert.equal(operationsOf(recorded.text).length, 1, recorded.text);
        assert.deepEqual(rounded(liveAtEnd(recorded.text)), liveIn(allocator));
      });
    }

    test("has what each operation was asked for", () => {
      const allocator = makeAllocator();
      const first = allocator.alloc(100, { name: "first" });
      const recorded = record(allocator);
      if (sharing === "shared while it is recorded") allocator.share();
      const told = (act: () => void): string => {
        const { length } = recorded.text;
        act();
        return recorded.text
          .slice(length)
          .replaceAll(/# (time|thread).*\n/g, "")
          .replaceAll(/ 0x[0-9a-f]+/g, "")
          .replaceAll("\n", "; ")
          .trim();
      };
      assert.match(
        recorded.text,
        /^# jit-allocator trace 1\n# options \{.*"granularity":64.*\}\n# process \d+ \w+ \d+( \d+)?\n/,
      );
      assert.match(recorded.text, new RegExp(`\na 1 128\n# at 1 0x${first.rx.toString(16)} code first\n`));
      assert.equal(
        told(() => allocator.alloc(200)),
        "a 3 200; # at 3 code;",
      );
      assert.equal(
        told(() => allocator.alloc(1, { name: "a\nb" })),
        "a 7 1; # at 7 code; # at 7 code a?b;",
      );
      const module = allocator.module();
      const veneer = allocator.veneer(0x1234);
      assert.match(
        told(() => module.data(8)),
        /^a \d+ 8; # at \d+ data;$/,
      );
      assert.equal(
        told(() => module.code(300)),
        "a 9 300; # at 9 code;",
      );
      const committed = module.commit();
      assert.match(
        told(() => committed.release()),
        /^f \d+; f 9;$/,
      );
      assert.equal(
        told(() => veneer.release()),
        "f 8;",
      );
      assert.equal(
        told(() => first.shrink(3)),
        "s 1 3;",
      );
      const runtime = new JitRuntime({ allocator });
      assert.equal(
        told(() => runtime.add(100, () => 64)),
        "a 8 100; # at 8 code; s 8 64;",
      );
      assert.equal(
        told(() => allocator.query(first.rx + 1).write(0, new Uint8Array(2))),
        "",
      );
      assert.equal(
        told(() => allocator.trim()),
        "",
      );
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.alloc(0));
      assert.equal(
        told(() => throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.release(wrong("x")))),
        "",
      );
      assert.equal(
        told(() => first.retire()),
        "f 1;",
      );
      assert.equal(
        told(() => throwsJitError("ERR_RELEASED", () => first.release())),
        "",
      );
      assert.equal(
        told(() => allocator.reset()),
        sharing === "not shared" ? "f 3; f 7; f 8; # reset;" : "f 3; f 7; f 8; # reset; # live;",
      );
      assert.equal(
        told(() => allocator.dispose()),
        "# dispose;",
      );
      const { text } = recorded;
      assert.equal(
        told(() => throwsJitError("ERR_DISPOSED", () => allocator.alloc(1))),
        "",
      );
      assert.equal(recorded.text, text);
    });

    test("takes back what the system refuses", () => {
      for (const end of ["release", "module", "reset", "dispose"]) {
        const memory = new SimulatedMemory();
        const allocator = makeAllocator(memory, { immediateRelease: true, useRange: false });
        const recorded = record(allocator);
        if (sharing === "shared while it is recorded") allocator.share();
        const span = allocator.alloc(100, { name: "kept" });
        const builder = allocator.module();
        builder.data(100);
        const module = builder.commit();
        memory.failAfter("any", 0, "ERR_OUT_OF_MEMORY");
        throwsJitError("ERR_OUT_OF_MEMORY", () => {
          if (end === "release") allocator.release(span);
          else if (end === "module") module.release();
          else if (end === "reset") allocator.reset("hard");
          else allocator.dispose();
        });
        assert.deepEqual(rounded(liveAtEnd(recorded.text)), liveIn(allocator), end);
        assert.equal(operationsOf(recorded.text).filter((line) => line.startsWith("f")).length > 0, true);
      }
    });

    test("ends with a warning where the sink cannot write, and no operation fails", async () => {
      const allocator = makeAllocator();
      let isBroken = false;
      const write = (): void => {
        if (isBroken) throw new Error("the disk is full");
      };
      allocator.record({ write });
      if (sharing === "shared while it is recorded") allocator.share();
      isBroken = true;
      const warned = once(process, "warning");
      const { rx } = allocator.alloc(100);
      const [warning] = (await warned) as [Error];
      assert.match(warning.message, /^The trace ends here: the disk is full$/);
      assert.equal(allocator.queryAddress(rx), rx);
      isBroken = false;
      allocator.release(rx);
      assert.equal(allocator.statistics().allocationCount, 0);
    });

    test("can be made twice at a time, and leaves nothing behind", () => {
      const allocator = makeAllocator();
      const [one, other] = [record(allocator), record(allocator)];
      if (sharing === "shared while it is recorded") allocator.share();
      allocator.alloc(64);
      one.end();
      one.end();
      allocator.alloc(128);
      assert.deepEqual(operationsOf(one.text), ["a 1 64"]);
      assert.deepEqual(operationsOf(other.text), ["a 1 64", "a 2 128"]);
      other.end();
      allocator.alloc(128);
      assert.equal(operationsOf(other.text).length, 2);
    });
  });
}

test("what several members of an allocator do goes into one file, in order", () => {
  for (const ending of ["trace", "trace.gz"]) {
    const memory = new SimulatedMemory({ refusesViews: true });
    const allocator = new JitAllocator({}, memory);
    const file = path.join(folder, `members.${ending}`);
    const recordings = [allocator.record(file)];
    churn([allocator], new Random(1), 50);
    const handle = allocator.share();
    const members = [allocator, attachOn(handle, memory), attachOn(handle, memory)];
    for (const member of members.slice(1)) recordings.push(member.record(file));
    churn(members, new Random(2), 400);
    members[1]?.releaseAllOf(members[2]?.memberId ?? 0);
    const bytes = readFileSync(file);
    const text = (ending === "trace" ? bytes : gunzipSync(bytes)).toString();
    const withoutNames = (facts: readonly Facts[]): unknown =>
      facts.map(([rx, size, kind]) => [rx, size, kind]);
    assert.deepEqual(withoutNames(rounded(liveAtEnd(text))), withoutNames(liveIn(allocator)));
    assert.deepEqual([...new Set(text.match(/^# thread \d+$/gm))].sort(), [
      "# thread 1",
      "# thread 2",
      "# thread 3",
    ]);
    assert.equal(text.match(/^# process/gm)?.length, 1);
    for (const recording of recordings) recording[Symbol.dispose]();
    members[2]?.detach();
    allocator.dispose();
  }
});

test("what other threads do around a reset is in the trace, and what the reset has ended is not", () => {
  const memory = new SimulatedMemory({ hasRanges: true, refusesViews: true });
  const one = new JitAllocator({}, memory);
  const other = attachOn(one.share(), memory);
  let text = "";
  let isDone = true;
  const kept: number[] = [];
  other.record({ write: (piece) => void (text += piece) });
  const recorder = one.record({
    write: (piece) => {
      // What the other thread does just before this one writes.
      if (!isDone && piece.startsWith("# reset")) {
        kept.push(other.allocAddress(100), other.allocAddress(100), other.allocAddress(100));
      }
      if (!isDone && piece.startsWith("# live")) {
        other.release(kept.pop() ?? 0);
        kept.push(other.allocAddress(5000));
        isDone = true;
      }
      const isEnding = /^f /m.test(piece);
      text += piece;
      if (isEnding) other.allocAddress(300);
    },
  });
  one.alloc(64);
  other.alloc(64);
  isDone = false;
  one.reset();
  assert.ok(isDone);
  const { kinds, slots, lostCount, sizes } = readTrace("x", new TextEncoder().encode(text));
  const live = new Map<number, number>();
  kinds.forEach((kind: OperationKind, index) => {
    const slot = slots[index] ?? 0;
    if (kind === OperationKind.alloc) live.set(slot, sizes[index] ?? 0);
    else live.delete(slot);
  });
  assert.equal(lostCount, 0);
  assert.deepEqual([...live.values()].sort(), [100, 100, 5000]);
  assert.equal(one.statistics().allocationCount, 3);
  recorder[Symbol.dispose]();
  one.dispose();
  const ended = readTrace("x", new TextEncoder().encode(`${text}# dispose\n`));
  const count = (kind: OperationKind): number =>
    ended.kinds.filter((each: OperationKind) => each === kind).length;
  assert.equal(count(OperationKind.alloc), count(OperationKind.release));
});

describe("a recording into a file", () => {
  test("is gzip by its name, has replaced what was there, and is whole at the end", () => {
    const file = path.join(folder, "new.trace.gz");
    writeFileSync(file, "something else");
    const allocator = new JitAllocator({}, new SimulatedMemory());
    {
      using recording = allocator.record(file);
      churn([allocator], new Random(5), 3000);
      assert.ok(Symbol.dispose in recording);
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.record(file));
    }
    const text = gunzipSync(readFileSync(file)).toString();
    assert.deepEqual(rounded(liveAtEnd(text)), liveIn(allocator));
    allocator.record(file)[Symbol.dispose]();
    assert.equal(
      operationsOf(gunzipSync(readFileSync(file)).toString()).length,
      liveIn(allocator).length,
      "a new recording begins with what is live",
    );
  });

  test("is refused where there can be none", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.record(path.join(folder, "missing/x.trace")));
    for (const sink of ["", 1, null, undefined, {}, { write: "x" }])
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.record(wrong(sink)));
    allocator.dispose();
    throwsJitError("ERR_DISPOSED", () => allocator.record({ write: () => undefined }));
  });

  for (const ending of ["trace", "trace.gz"]) {
    test(`is whole when the process is killed (${ending})`, { skip: needs("signals") }, async () => {
      const file = path.join(folder, `killed.${ending}`);
      const running = spawn(process.execPath, [child, "record", file, "forever"], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const [said] = (await once(running.stdout, "data")) as [Buffer];
      // Behind what it has said, it goes on; it is killed in the middle of that.
      const size = statSync(file).size;
      while (statSync(file).size < size + 100_000) await new Promise((resolve) => setImmediate(resolve));
      running.kill("SIGKILL");
      await once(running, "exit");
      const { status, stdout, stderr } = runCli(["replay", file, "--rounds", "1", "--json"]);
      assert.equal(status, 0, stderr);
      const bytes = readFileSync(file);
      const trace = readTrace(file, bytes);
      assert.ok(trace.operationCount > 5000);
      assert.equal((JSON.parse(stdout) as { phases: { n: number }[] }).phases[0]?.n, trace.operationCount);
      assert.match(stderr, trace.isCut ? /the last line is not whole/ : /^$/);
      if (ending !== "trace") return;
      const { live } = JSON.parse(said.toString().split("\n", 1)[0] ?? "") as { live: unknown };
      const lines = bytes.toString().split("\n");
      const first = operationsOf(bytes.toString()).slice(0, 5000);
      const end = lines.indexOf(first.at(-1) ?? "", 5000);
      assert.ok(end > 0 && Array.isArray(live));
    });
  }

  test("is taken by replay as far as it goes", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    const file = path.join(folder, "cut.trace.gz");
    const recording = allocator.record(file);
    churn([allocator], new Random(6), 5000);
    recording[Symbol.dispose]();
    const bytes = readFileSync(file);
    const whole = readTrace(file, bytes);
    for (const length of [bytes.length - 1, bytes.length - 1000, bytes.length >> 1]) {
      const { operationCount, isCut } = readTrace(file, bytes.subarray(0, length));
      assert.ok(
        operationCount <= whole.operationCount && operationCount > 10,
        `${operationCount} of ${length}`,
      );
      assert.ok(isCut || operationCount > 10);
    }
    const text = gunzipSync(bytes);
    const plain = path.join(folder, "cut.trace");
    writeFileSync(plain, text.subarray(0, text.lastIndexOf("\na ") + 3));
    const { status, stdout, stderr } = runCli(["replay", plain, "--rounds", "1"]);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /the last line is not whole, and was left out/);
    assert.match(stdout, /operations/);
  });
});

describe("JIT_ALLOCATOR_TRACE", () => {
  function run(file: string): { said: { live: [number, number][] } | undefined; stderr: string } {
    const { stdout, stderr } = runToEnd(process.execPath, [child, "environment"], {
      env: { ...process.env, JIT_ALLOCATOR_TRACE: file },
    });
    return { said: JSON.parse(stdout) as { live: [number, number][] }, stderr };
  }

  const skip = needs("machineCode");

  for (const ending of ["trace", "trace.gz"]) {
    test(`records all allocators, in all threads (${ending})`, { skip }, () => {
      const file = path.join(folder, `by-environment.${ending}`);
      const { said, stderr } = run(file);
      assert.equal(stderr, "");
      const read = (number: string): string => {
        const bytes = readFileSync(path.join(folder, `by-environment${number}.${ending}`));
        return (ending === "trace" ? bytes : gunzipSync(bytes)).toString();
      };
      assert.deepEqual(
        rounded(liveAtEnd(read(""))).map(([rx, size]) => [rx, size]),
        said?.live,
      );
      assert.ok(read("").includes("# thread 2\n"));
      // An ID is a place: 1 is the first one of a range.
      const others = [read("-2"), read("-3")].map((text) =>
        operationsOf(text)
          .join()
          .replace(/^a \d+ /, ""),
      );
      assert.deepEqual(others.sort(), ["100", "1000"]);
      assert.ok(!existsSync(path.join(folder, `by-environment-4.${ending}`)));
      const before = read("");
      run(file);
      assert.notEqual(read(""), before, "the next run has replaced it");
      assert.ok(!existsSync(path.join(folder, `by-environment-4.${ending}`)));
    });
  }

  test("warns, and goes on, where nothing can be written", { skip }, () => {
    const { said, stderr } = run(path.join(folder, "missing/x.trace"));
    assert.ok((said?.live.length ?? 0) > 0);
    assert.match(stderr, /\[JIT_ALLOCATOR_TRACE\].*Nothing is recorded: Cannot record into .*missing/);
  });
});
