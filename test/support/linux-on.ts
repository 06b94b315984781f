import { LinuxMemory } from "../../src/vm/linux.ts";
import { coherentCache } from "../../src/vm/linux/instruction-cache.ts";
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
    instructionCache: coherentCache,
  });
}
