/**
 * A program that is looked into: `node viewed-child.js [HOW]`. It ends at once; with `wait` it says "ready" and goes on until
 * its input ends, then disposes of its second allocator where HOW has `dispose`.
 */
import { writeSync } from "node:fs";
import { JitAllocator } from "../../src/index.ts";

const how = process.argv[2] ?? "";
const allocator = new JitAllocator();
allocator.alloc(1000, { name: "first\x1b[31m" });
allocator.alloc(500, { name: "table", kind: "constants" });
const second = new JitAllocator();
second.alloc(64, { name: "other" });
if (how.includes("share")) allocator.share();

if (how.includes("wait")) {
  process.stdin.resume();
  process.stdin.on("end", () => process.exit());
  process.stdin.on("data", () => {
    second.dispose();
    writeSync(1, "disposed\n");
  });
  // Both have found out at which path they listen.
  const { existsSync } = await import("node:fs");
  const paths = (process.env["VIEWED"] ?? "").split(",");
  const wait = setInterval(() => {
    if (!paths.every((one) => existsSync(one))) return;
    clearInterval(wait);
    writeSync(1, "ready\n");
  }, 5);
}
