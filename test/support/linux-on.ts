import { LinuxMemory } from "../../src/vm/linux.ts";
import { coherentCache } from "../../src/vm/linux/instruction-cache.ts";
import type { FakeLibc } from "./fake-libc.ts";
import { FakeMarks } from "./fake-marks.ts";
import { WITHOUT_ROUTINE } from "./fake-noting.ts";
import type { LinuxLibc } from "../../src/vm/linux/libc.ts";
import type { Noting } from "../../src/vm/noter.ts";

/** Linux memory on a fake machine. */
export function linuxOn(
  libc: FakeLibc,
  marks = new FakeMarks(),
  noting: Noting<LinuxLibc> = WITHOUT_ROUTINE,
): LinuxMemory {
  return new LinuxMemory({
    libc,
    files: libc.files(),
    bindMarkCalls: () => marks.calls(libc.gettid()),
    noting,
    ffi: {
      view: (_address, sizeBytes) => new ArrayBuffer(sizeBytes),
      detach: () => undefined,
    },
    instructionCache: coherentCache,
  });
}
