/** What `doctor` tries on a Windows machine. Every step undoes what it made. */
import { probeStep } from "../attempts.ts";
import type { ProbeStep } from "../contract.ts";
import { mapTwice, unmapTwice } from "./dual-mapping.ts";
import { Memory, Page } from "./kernel32.ts";
import type { Kernel32 } from "./kernel32.ts";
import { lastError } from "./last-error.ts";
import { mayLockPages } from "./lock-pages.ts";
import type { Advapi32 } from "./lock-pages.ts";

/** The parts that a probe uses. */
export interface ProbeParts {
  readonly kernel32: Kernel32;
  readonly advapi32: Advapi32;
  /** The size of each mapping that is tried, in bytes. */
  readonly sizeBytes: number;
  readonly largePageSize: number;
}

/** Tries every way of making executable memory. Never throws. */
export function probe({ kernel32, advapi32, sizeBytes, largePageSize }: ProbeParts): readonly ProbeStep[] {
  const steps = [
    probeStep("VirtualAlloc (read, write, execute)", () => {
      free(kernel32, allocate(kernel32, sizeBytes, Page.EXECUTE_READWRITE, 0));
      return "memory can be writable and executable at once";
    }),
    probeStep("VirtualProtect (read, write → read, execute)", () => {
      const address = allocate(kernel32, sizeBytes, Page.READWRITE, 0);
      try {
        if (kernel32.VirtualProtect(address, sizeBytes, Page.EXECUTE_READ, new Uint32Array(1)) === 0) {
          throw lastError(kernel32, "make written memory executable", "VirtualProtect");
        }
      } finally {
        free(kernel32, address);
      }
      return "memory can be written first and made executable then";
    }),
    probeStep("dual mapping: CreateFileMapping, MapViewOfFile twice", () => {
      tryTwice(kernel32, sizeBytes, false);
      return "both views were mapped";
    }),
  ];
  if (largePageSize === 0) {
    return [...steps, { name: "large pages", ok: false, detail: "this machine has none" }];
  }
  return [
    ...steps,
    probeStep("large pages: the right to lock pages", () => {
      if (mayLockPages(kernel32, advapi32)) return "this process has it";
      throw new Error('this account has not got it; grant it "Lock pages in memory" (SeLockMemoryPrivilege)');
    }),
    probeStep("large pages: VirtualAlloc (MEM_LARGE_PAGES)", () => {
      free(kernel32, allocate(kernel32, largePageSize, Page.READWRITE, Memory.LARGE_PAGES));
      return "they can be mapped";
    }),
    probeStep("large pages: CreateFileMapping (SEC_LARGE_PAGES)", () => {
      tryTwice(kernel32, largePageSize, true);
      return "they can be mapped twice";
    }),
  ];
}

function allocate(kernel32: Kernel32, sizeBytes: number, protection: number, type: number): number {
  const address = kernel32.VirtualAlloc(0, sizeBytes, Memory.RESERVE | Memory.COMMIT | type, protection);
  if (address === 0) {
    throw lastError(kernel32, `map ${sizeBytes} bytes`, "VirtualAlloc");
  }
  return address;
}

function free(kernel32: Kernel32, address: number): void {
  kernel32.VirtualFree(address, 0, Memory.RELEASE);
}

function tryTwice(kernel32: Kernel32, sizeBytes: number, largePages: boolean): void {
  unmapTwice(kernel32, mapTwice(kernel32, sizeBytes, largePages), sizeBytes);
}
