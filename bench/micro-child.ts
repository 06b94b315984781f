/**
 * `node dist/bench/micro-child.js NAME`: one group of small measurements, in a process of its own; prints JSON,
 * an object of nanoseconds (or counts, or milliseconds) by name. `bench/micro.ts` runs it.
 */
import koffi from "koffi";
import { readFileSync } from "node:fs";
import { JitAllocator, JitError, toFunction, type Span } from "../src/index.ts";
import { makeReplay, timeRound } from "../src/cli/replay-rounds.ts";
import { readTrace } from "../src/cli/trace.ts";
import { platform } from "../src/base/platform.ts";
import { leastOfTurns } from "./least-of-turns.ts";
import { addFunctionCode } from "./machine-code.ts";

/** Figures by name. */
type Figures = Readonly<Record<string, number>>;

/** Measures a write of the library, a native memcpy through the same FFI, and a plain copy between arrays. */
function measureWrites(): Figures {
  const cLibrary = koffi.load(platform.system === "windows" ? "msvcrt.dll" : null);
  const memcpy = cLibrary.func("memcpy", "intptr_t", ["intptr_t", "void *", "size_t"]);
  using allocator = new JitAllocator({ blockSize: 1 << 20 });
  const span = allocator.alloc(64 * 1024);
  // Both sides copy from one place of a page to its start. The system maps an array of a mebibyte for itself; a smaller one
  // lies anywhere in a page, and where the copy crosses its end, as in one process of sixteen, it takes 13.5 ns instead of 10.2.
  const target = new Uint8Array(1 << 20);
  const filled = new Uint8Array(1 << 20).fill(0x90);
  const figures: Record<string, number> = {};
  for (const [label, sizeBytes, calls] of [
    ["256 B", 256, 20_000],
    ["64 KiB", 64 * 1024, 500],
  ] as const) {
    const source = filled.subarray(2048, 2048 + sizeBytes);
    const least = leastOfTurns(
      {
        write: () => {
          for (let i = 0; i < calls; i++) allocator.write(span, 0, source);
        },
        memcpy: () => {
          for (let i = 0; i < calls; i++) memcpy(span.rw, source, sizeBytes);
        },
        set: () => {
          for (let i = 0; i < calls; i++) target.set(source, 0);
        },
      },
      calls,
      40,
    );
    figures[`write ${label}`] = least.write;
    figures[`native memcpy ${label}`] = least.memcpy;
    figures[`Uint8Array.set ${label}`] = least.set;
  }
  return figures;
}

/** Measures writes where the writable view is closed by a protection key, beside the same without; nothing where there are none. */
function measureKeyedWrites(): Figures {
  const figures: Record<string, number> = {};
  try {
    using keyed = new JitAllocator({ protectWrites: "keys" });
    using open = new JitAllocator();
    const closed = keyed.alloc(4096);
    const plain = open.alloc(4096);
    for (const sizeBytes of [64, 256, 4096]) {
      const source = new Uint8Array(sizeBytes).fill(0x90);
      const writeTo = (span: Span) => (): void => {
        for (let i = 0; i < 20_000; i++) span.write(0, source);
      };
      const least = leastOfTurns({ keys: writeTo(closed), none: writeTo(plain) }, 20_000, 40);
      figures[`write ${sizeBytes} B with protectWrites: "keys"`] = least.keys;
      figures[`write ${sizeBytes} B without`] = least.none;
    }
    return figures;
  } catch (error) {
    if (error instanceof JitError && error.code === "ERR_FEATURE_NOT_ENABLED") return {};
    throw error;
  }
}

/** A span with a function in it that adds two 32-bit integers. */
function addFunctionSpan(allocator: JitAllocator): Span {
  const code = addFunctionCode();
  const span = allocator.alloc(code.length);
  allocator.write(span, 0, code);
  return span;
}

/** Measures a call through toFunction, and a call of a koffi function made from the same address. */
function measureCalls(): Figures {
  using allocator = new JitAllocator();
  const span = addFunctionSpan(allocator);
  const ours = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
  const bare = koffi.decode(span.rx, koffi.proto("int(int a, int b)")) as (a: number, b: number) => number;
  const calls = 20_000;
  let sum = 0;
  const least = leastOfTurns(
    {
      ours: () => {
        for (let i = 0; i < calls; i++) sum = ours(sum & 0xffff, 1);
      },
      bare: () => {
        for (let i = 0; i < calls; i++) sum = bare(sum & 0xffff, 1);
      },
    },
    calls,
    60,
  );
  return { "call through toFunction": least.ours, "call of a bare koffi function": least.bare };
}

/** Measures the making of an allocator, one allocation, and the disposal. */
function measureLifecycle(): Figures {
  const calls = 200;
  const least = leastOfTurns(
    {
      lifecycle: () => {
        for (let i = 0; i < calls; i++) {
          const allocator = new JitAllocator();
          allocator.allocAddress(300);
          allocator[Symbol.dispose]();
        }
      },
    },
    calls,
    20,
  );
  return { "make an allocator, allocate, dispose": least.lifecycle / 1e3 };
}

/** Measures the first thousand operations after the library has been loaded, when nothing is compiled yet. */
function measureCold(tracePath: string): Figures {
  const trace = readTrace(tracePath, readFileSync(tracePath));
  const nanoseconds = timeRound(makeReplay("address", trace), { useDualMapping: true });
  return { "first 1,000 operations": (nanoseconds[0] ?? NaN) / 1e3 };
}

function measure(name: string | undefined): Figures {
  switch (name) {
    case "writes":
      return measureWrites();
    case "keys":
      return measureKeyedWrites();
    case "calls":
      return measureCalls();
    case "lifecycle":
      return measureLifecycle();
    case "cold":
      return measureCold(process.argv[3] ?? "");
    default:
      throw new Error(`There is no measurement ${name ?? "without a name"}`);
  }
}

process.stdout.write(`${JSON.stringify(measure(process.argv[2]))}\n`);
