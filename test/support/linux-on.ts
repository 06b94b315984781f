import { LinuxMemory } from "../../src/vm/linux.ts";
import type { FakeLibc } from "./fake-libc.ts";

/** Linux memory on a fake machine. */
export function linuxOn(libc: FakeLibc): LinuxMemory {
  return new LinuxMemory({
    libc,
    files: libc.files(),
    ffi: {
      view: (_address, sizeBytes) => new ArrayBuffer(sizeBytes),
      detach: () => undefined,
    },
    flushInstructionCache: () => undefined,
  });
}
