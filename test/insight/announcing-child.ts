/** Adds code with names, and prints the files that are written: `node announcing-child.js [way …]`. */
import { announce, JitRuntime } from "../../src/index.ts";
import { countDown } from "../support/framed-code.ts";

const ways = process.argv.slice(2);
const files = announce(Object.fromEntries(ways.map((way) => [way, true])));
const runtime = new JitRuntime();
const spans = ["first", "second\0name", ""].map((name) => runtime.add(countDown(1), { name }));
const emit = (code: Uint8Array): number => {
  code.set(countDown(2));
  return 12;
};
const emitted = runtime.add(100, emit, { name: "emitted" });
const whole = runtime.add(100, () => undefined, { unwind: new Uint8Array([0x41, 0x0e, 16]) });
runtime.release(spans[0]?.rx ?? 0);
console.log(
  JSON.stringify({
    files,
    rx: [...spans, emitted, whole].map((span) => span.rx),
    lengths: [emitted, whole].map((span) => runtime.codeOf(span)?.bytes.length),
  }),
);
