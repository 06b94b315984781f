import { LinuxMemory } from "../../src/vm/linux.ts";
import { coherentCache } from "../../src/vm/linux/instruction-cache.ts";
import type { FakeLibc } from "./fake-libc.ts";
import { FakeMarks } from "./fake-marks.ts";

/** Linux memory on a fake machine. */
export function linuxOn(libc: FakeLibc, marks = new FakeMarks()): LinuxMemory {
  return new LinuxMemory({
    libc,
    files: libc.files(),
    bindMarkCalls: () => marks.calls(libc.gettid()),
    ffi: {
      view: (_address, sizeBytes) => new ArrayBuffer(sizeBytes),
      detach: () => undefined,
    },
    instructionCache: coherentCache,
  });
}
