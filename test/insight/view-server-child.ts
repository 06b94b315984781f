/**
 * A program that does what is not expected while it listens: `node view-server-child.js HOW`. It says what it has seen, and ends.
 * - `go` goes to another folder at once; `remove` removes the socket at once
 * - `dispose` disposes of three allocators at once, and has one more
 * - `many` makes twelve, one after the other, each when the last one listened
 */
import { existsSync, rmSync, writeSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import path from "node:path";
import { JitAllocator } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";

const how = process.argv[2] ?? "";
const file = path.resolve(process.env["JIT_ALLOCATOR_VIEW"] ?? "");
const make = (): JitAllocator => new JitAllocator({}, new SimulatedMemory());

/** Waits, with the process kept alive, which a socket does not. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

if (how === "go") {
  make();
  process.chdir(tmpdir());
  await until(() => existsSync(file));
  writeSync(1, "listens\n");
} else if (how === "remove") {
  make();
  const warned = once(process, "warning");
  rmSync(file);
  const wait = setTimeout(() => undefined, 60_000);
  await warned;
  clearTimeout(wait);
  writeSync(1, "goes on\n");
} else if (how === "dispose") {
  for (let count = 0; count < 3; count++) make().dispose();
  const other = file.replace(".sock", "-2.sock");
  const allocators = [make(), make()];
  await until(() => existsSync(other));
  allocators[1]?.dispose();
  await until(() => !existsSync(other));
  writeSync(1, existsSync(file) ? "one is left\n" : "none is left\n");
} else {
  for (let count = 0; count < 12; count++) {
    const allocator = make();
    await until(() => existsSync(file));
    // It has found out that it listens.
    await new Promise((resolve) => setImmediate(resolve));
    allocator.dispose();
    await until(() => !existsSync(file));
  }
  writeSync(1, `${process.listenerCount("exit")}\n`);
}
