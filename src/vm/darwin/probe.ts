/** What `doctor` tries on a Mac. Every step undoes what it made. */
import { probeStep } from "../attempts.ts";
import type { ProbeStep } from "../contract.ts";
import { mapTwice } from "./dual-mapping.ts";
import { MAP_FAILED, MapFlag, Protection } from "./libsystem.ts";
import type { LibSystem, Port } from "./libsystem.ts";
import { posixError } from "./refusals.ts";

const EVERYTHING = Protection.READ | Protection.WRITE | Protection.EXECUTE;

/** Tries every way of making executable memory. Never throws. */
export function probe(libSystem: LibSystem, task: Port, pageSize: number): readonly ProbeStep[] {
  return [
    probeStep("mmap (read, write, execute)", () => {
      libSystem.munmap(map(libSystem, pageSize, EVERYTHING, 0), pageSize);
      return "memory can be writable and executable at once";
    }),
    probeStep("mmap (MAP_JIT)", () => {
      libSystem.munmap(map(libSystem, pageSize, EVERYTHING, MapFlag.JIT), pageSize);
      return "it can be mapped; on Apple silicon it is of no use to JavaScript, whose engine has its code in such memory";
    }),
    probeStep("mprotect (read, write → read, execute)", () => {
      const address = map(libSystem, pageSize, Protection.READ | Protection.WRITE, 0);
      try {
        if (libSystem.mprotect(address, pageSize, Protection.READ | Protection.EXECUTE) !== 0) {
          throw posixError("make written memory executable", "mprotect", libSystem.errno());
        }
      } finally {
        libSystem.munmap(address, pageSize);
      }
      return "memory can be written first and made executable then";
    }),
    probeStep("dual mapping: mach_vm_remap", () => {
      const { rx } = mapTwice(libSystem, task, pageSize);
      libSystem.munmap(rx, 2 * pageSize);
      return "both views were mapped";
    }),
    { name: "large pages", ok: false, detail: "not used on this system" },
  ];
}

function map(libSystem: LibSystem, sizeBytes: number, protection: number, flags: number): number {
  const kind = MapFlag.PRIVATE | MapFlag.ANONYMOUS | flags;
  const address = libSystem.mmap(0, sizeBytes, protection, kind, -1, 0);
  if (address === MAP_FAILED) throw posixError(`map ${sizeBytes} bytes`, "mmap", libSystem.errno());
  return address;
}
