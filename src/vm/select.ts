/** The one place that chooses the operating system's memory. */
import { JitError } from "../errors.ts";
import { systemFfi } from "../ffi/select.ts";
import { platform } from "../platform.ts";
import type { SystemName } from "../platform.ts";
import type { VirtualMemory } from "./contract.ts";
import { LinuxMemory } from "./linux.ts";
import { systemFiles } from "./linux/files.ts";
import { instructionCache } from "./linux/instruction-cache.ts";
import { bindLibc } from "./linux/libc.ts";

const openers: Readonly<Record<SystemName, () => VirtualMemory>> = {
  linux: openLinux,
  darwin: refuse,
  windows: refuse,
  other: refuse,
};

let chosen: VirtualMemory | undefined;

/**
 * The virtual memory of this system, made on the first call and kept. Each thread has its own.
 *
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where the system is not supported, or native code cannot be called.
 */
export function systemMemory(): VirtualMemory {
  return (chosen ??= openers[platform.system]());
}

function openLinux(): VirtualMemory {
  const ffi = systemFfi();
  const libc = bindLibc(ffi);
  return new LinuxMemory({
    libc,
    files: systemFiles,
    ffi,
    instructionCache: instructionCache(ffi, libc, platform.processor),
  });
}

function refuse(): never {
  throw new JitError(
    "ERR_FEATURE_NOT_ENABLED",
    `Cannot make executable memory: this system (${platform.system}) is not supported yet; use Linux`,
  );
}
