/**
 * `node dist/bench/linking-child.js stubs|modules`: what code that reaches code costs, in a process of its own; prints JSON,
 * an object of nanoseconds (for modules, of microseconds) by name. `bench/micro.ts` runs it.
 */
import koffi from "koffi";
import { JitAllocator, toFunction, toPointer } from "../src/index.ts";
import { rawCallback } from "./calls-raw.ts";
import { leastOfTurns } from "./least-of-turns.ts";

const SIGNATURE = { parameters: ["i32", "i32"], result: "i32" } as const;
/** What callbacks compute. */
const add = (a: number, b: number): number => (a + b) | 0;

/** Calls of machine code by machine code in one run of a loop. */
const CALLS = 1_000_000;
/** The parts of a module. */
const PARTS = 100;

/** A function that calls what lies at `target` as often as it is told; x86-64, System V. */
function callingLoop(rx: number, target: number): Uint8Array {
  // push rbx; mov ebx, edi; call target; dec ebx; jnz -9; pop rbx; ret
  const code = Uint8Array.of(0x53, 0x89, 0xfb, 0xe8, 0, 0, 0, 0, 0xff, 0xcb, 0x75, 0xf7, 0x5b, 0xc3);
  new DataView(code.buffer).setInt32(4, target - (rx + 8), true);
  return code;
}

/** What veneers and callbacks cost. */
function measureStubs(): Readonly<Record<string, number>> {
  using allocator = new JitAllocator();
  const targets = [0xc3, 0xc3].map((code) => {
    const span = allocator.alloc(1);
    span.write(0, Uint8Array.of(code));
    return span.rx;
  });
  const [target = 0, other = 0] = targets;
  const veneer = allocator.veneer(target);
  const loops = [target, veneer.rx].map((callee) => {
    const span = allocator.alloc(16);
    span.write(0, callingLoop(span.rx, callee));
    return toFunction(span, { parameters: ["i32"], result: "void" });
  });
  const [direct, stubbed] = loops;
  if (direct === undefined || stubbed === undefined) throw new Error("There are two loops");

  const changes = 2000;
  const made = leastOfTurns(
    {
      made() {
        for (let i = 0; i < changes; i++) allocator.veneer(other).release();
      },
      counted() {
        for (let i = 0; i < changes; i++) allocator.veneer(target).release();
      },
      retargeted() {
        for (let i = 0; i < changes; i++) veneer.retarget((i & 1) === 0 ? other : target);
      },
    },
    changes,
    40,
  );
  const called = leastOfTurns({ direct: () => direct(CALLS), stubbed: () => stubbed(CALLS) }, CALLS, 10);

  using callback = toPointer(add, SIGNATURE);
  const [ours, theirs] = [callback.address, rawCallback(add, SIGNATURE)].map(
    (address) => allocator.veneer(address).rx,
  );
  const callOurs = toFunction(allocator.query(ours ?? 0), SIGNATURE);
  const callTheirs = koffi.decode(theirs, koffi.proto("int(int a, int b)")) as typeof add;
  const calls = 20_000;
  let sum = 0;
  const back = leastOfTurns(
    {
      ours() {
        for (let i = 0; i < calls; i++) sum = callOurs(sum & 0xffff, 1);
      },
      theirs() {
        for (let i = 0; i < calls; i++) sum = callTheirs(sum & 0xffff, 1);
      },
    },
    calls,
    60,
  );
  const callbacks = 200;
  const pointers = leastOfTurns(
    {
      made() {
        for (let i = 0; i < callbacks; i++) toPointer(add, SIGNATURE).release();
      },
    },
    callbacks,
    40,
  );
  return {
    "veneer made and released": made.made,
    "veneer of a target that has one, taken and released": made.counted,
    "veneer retargeted": made.retargeted,
    "machine code calls a function": called.direct,
    "machine code calls it through a veneer": called.stubbed,
    "callback made and released": pointers.made,
    "call that calls back (toFunction, toPointer)": back.ours,
    "call that calls back (koffi)": back.theirs,
  };
}

/** What a module costs, from its first part to its release. */
function measureModules(): Readonly<Record<string, number>> {
  using allocator = new JitAllocator();
  const code = new Uint8Array(200).fill(0xc3);
  const modules = 20;
  const least = leastOfTurns(
    {
      module() {
        for (let i = 0; i < modules; i++) {
          const builder = allocator.module();
          for (let part = 0; part < PARTS; part++) builder.code(code);
          builder.commit().release();
        }
      },
      spans() {
        for (let i = 0; i < modules; i++) {
          const spans = Array.from({ length: PARTS }, () => allocator.alloc(code.length));
          for (const span of spans) span.write(0, code);
          for (const span of spans) span.release();
        }
      },
    },
    modules,
    40,
  );
  return {
    [`module of ${PARTS} parts of 200 B, built, committed and released`]: least.module / 1e3,
    [`${PARTS} spans of 200 B, allocated, written and released one by one`]: least.spans / 1e3,
  };
}

const figures = process.argv[2] === "modules" ? measureModules() : measureStubs();
process.stdout.write(`${JSON.stringify(figures)}\n`);
