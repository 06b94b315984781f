/**
 * `node dist/bench/native-calls-child.js`: counts the native calls of a steady state of alloc, write and release;
 * prints JSON. All native calls go through koffi, so koffi's functions are wrapped before the library loads it.
 */
import { requireKoffi, type KoffiModule } from "../src/ffi/koffi-module.ts";

let nativeCalls = 0;

type AnyFunction = (...args: never[]) => unknown;

/** `target`, counting its calls. Properties (koffi's functions have some) stay reachable. */
function counted(target: AnyFunction): AnyFunction {
  return new Proxy(target, {
    apply(callee, self, args): unknown {
      nativeCalls++;
      return Reflect.apply(callee, self, args);
    },
  });
}

/** A library whose functions count their calls. */
function countedLibrary(library: object): object {
  return new Proxy(library, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(target, name);
      if (name !== "func" || typeof member !== "function") return member;
      return (...args: unknown[]): unknown => counted(Reflect.apply(member, target, args) as AnyFunction);
    },
  });
}

// The library gets the same object, whose functions are replaced here.
const koffi = requireKoffi() as KoffiModule & Partial<Record<"call", AnyFunction>>;
const { load, view, decode, call } = koffi;
if (call === undefined) throw new Error("koffi has other functions than are counted here");
Object.assign(koffi, {
  load: (...args: Parameters<typeof load>): object => countedLibrary(load(...args)),
  view: counted(view),
  decode: counted(decode),
  call: counted(call),
});

const { JitAllocator } = await import("../src/index.ts");
using allocator = new JitAllocator();
const code = new Uint8Array(200).fill(0x90);

/** `turns` times, a random one of the live spans is released, and another is allocated and written. */
const spans = Array.from({ length: 1000 }, (_, index) => allocator.alloc(64 + ((index * 37) % 900)));
function steadyState(turns: number): void {
  for (let turn = 0; turn < turns; turn++) {
    const slot = (turn * 7919) % spans.length;
    const old = spans[slot];
    if (old !== undefined) allocator.release(old);
    const span = allocator.alloc(200 + ((turn * 53) % 700));
    allocator.write(span, 0, code);
    spans[slot] = span;
  }
}

// The first turns may still open a view of each block, or map one more.
const made = nativeCalls;
if (made === 0)
  throw new Error("No native call was counted while the first block was mapped: the count is blind");
steadyState(10_000);
nativeCalls = 0;
steadyState(10_000);
process.stdout.write(`${JSON.stringify({ "native calls, steady state": nativeCalls })}\n`);
