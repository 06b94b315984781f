/** The one place that chooses the operating system's memory. */
import { JitError } from "../base/errors.ts";
import { systemFfi } from "../ffi/select.ts";
import { platform } from "../base/platform.ts";
import type { ProcessorName, SystemName } from "../base/platform.ts";
import { AtomicStores } from "./atomic-stores.ts";
import type { VirtualMemory } from "./contract.ts";
import { DarwinMemory } from "./darwin.ts";
import type { DarwinProcessor } from "./darwin.ts";
import { bindLibSystem } from "./darwin/libsystem.ts";
import { LinuxMemory } from "./linux.ts";
import { systemFiles } from "./linux/files.ts";
import { instructionCache } from "./linux/instruction-cache.ts";
import { bindMembarrier } from "./linux/core-barrier.ts";
import { bindLibc } from "./linux/libc.ts";
import { linuxNoting } from "./linux/noting.ts";
import { StoreBarrier } from "./linux/store-barrier.ts";
import { bindMarkCalls } from "./linux/thread-mark.ts";
import { WriteKeys } from "./linux/write-keys.ts";
import { WindowsMemory } from "./windows.ts";
import { bindKernel32 } from "./windows/kernel32.ts";
import { bindAdvapi32 } from "./windows/lock-pages.ts";
import { windowsNoting } from "./windows/noting.ts";

const openers: Readonly<Record<SystemName, () => VirtualMemory>> = {
  linux: openLinux,
  darwin: openDarwin,
  windows: openWindows,
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

/** The memory given, or the system's. `handles.map(JitAllocator.attach)` passes an index for it, hence the check. */
export function memoryOr(given: VirtualMemory | undefined): VirtualMemory {
  return typeof given === "object" ? given : systemMemory();
}

function openLinux(): VirtualMemory {
  const ffi = systemFfi();
  const libc = bindLibc(ffi);
  return new LinuxMemory({
    libc,
    files: systemFiles,
    bindMarkCalls: () => bindMarkCalls(ffi, platform.processor),
    storeBarrier: new StoreBarrier(bindMembarrier(ffi, platform.processor)),
    noting: linuxNoting(ffi, platform.processor),
    ffi,
    instructionCache: instructionCache(ffi, libc, platform.processor),
    stores: new AtomicStores(ffi, platform.processor, false),
    makeKeys: () => new WriteKeys({ libc, files: systemFiles, ffi }),
  });
}

function openWindows(): VirtualMemory {
  const ffi = systemFfi();
  const noting = windowsNoting(ffi, platform.processor);
  const stores = new AtomicStores(ffi, platform.processor, true);
  return new WindowsMemory({ kernel32: bindKernel32(ffi), advapi32: bindAdvapi32(ffi), noting, ffi, stores });
}

/** `other` has the safe answers: the needs of a processor that this library does not know are not known either. */
const darwinProcessors: Readonly<Record<ProcessorName, DarwinProcessor>> = {
  x64: { needsFlush: false, switchesJitMemory: false },
  arm64: { needsFlush: true, switchesJitMemory: true },
  other: { needsFlush: true, switchesJitMemory: true },
};

function openDarwin(): VirtualMemory {
  const ffi = systemFfi();
  return new DarwinMemory({
    libSystem: bindLibSystem(ffi),
    ffi,
    processor: darwinProcessors[platform.processor],
    stores: new AtomicStores(ffi, platform.processor, false),
  });
}

function refuse(): never {
  throw new JitError(
    "ERR_FEATURE_NOT_ENABLED",
    `Cannot make executable memory: this system (${platform.system}) is not supported; use Linux, Windows or macOS`,
  );
}
