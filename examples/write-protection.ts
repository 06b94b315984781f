// W^X: the same memory can be written through rw and not through rx, where it runs.
// Machine code that stores to its own rx address shows it; that kills the process, so a child does it.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { JitAllocator, toFunction } from "jit-allocator";

// x86-64, System V: mov byte ptr [rdi], 0xc6; ret: stores what stands there already, its own first byte.
const code = Uint8Array.of(0xc6, 0x07, 0xc6, 0xc3);

function storeThroughBothViews(): void {
  const allocator = new JitAllocator();
  const span = allocator.alloc(code.length);
  span.write(0, code);
  const store = toFunction(span, { parameters: ["pointer"], result: "void" });
  store(span.rw);
  console.log("stored through rw");
  store(span.rx);
  console.log("stored through rx: this line is never reached");
}

if (process.argv[2] === "child") {
  storeThroughBothViews();
} else {
  const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url), "child"], { encoding: "utf8" });
  process.stdout.write(child.stdout);
  console.log(`storing through rx ended the child: ${child.signal}`);
}
