/** Makes written code visible to the processor that will run it. */
import { JitError } from "../../base/errors.ts";
import type { Address, Ffi } from "../../ffi/contract.ts";
import type { ProcessorName } from "../../base/platform.ts";
import { probeStep } from "../attempts.ts";
import type { ProbeStep } from "../contract.ts";
import { clearCacheOfLibgcc, ownClearCache } from "./clear-cache.ts";
import type { ClearCache } from "./clear-cache.ts";
import { bindMembarrier, CoreBarrier } from "./core-barrier.ts";
import { errnoName } from "./errno.ts";
import type { LinuxLibc } from "./libc.ts";

/** The instruction cache, as a processor needs it flushed. */
export interface InstructionCache {
  /** True where a flush does nothing. */
  readonly isCoherent?: boolean;
  /** Makes code written to `[address, address + sizeBytes)` safe to run on every core. */
  flush(address: Address, sizeBytes: number): void;
  /** The lines that `doctor` prints of it. Never throws. */
  probe(): readonly ProbeStep[];
}

/** The instruction cache of a processor. */
export function instructionCache(ffi: Ffi, libc: LinuxLibc, processor: ProcessorName): InstructionCache {
  return caches[processor](ffi, libc);
}

const caches: Readonly<Record<ProcessorName, (ffi: Ffi, libc: LinuxLibc) => InstructionCache>> = {
  x64: () => coherentCache,
  arm64: (ffi, libc) =>
    new ClearedCache(
      () => clearCacheOfLibgcc(ffi) ?? ownClearCache(ffi, libc),
      new CoreBarrier(bindMembarrier(ffi, "arm64")),
    ),
  other: (ffi) => new ClearedCache(() => clearCacheOfLibgcc(ffi)),
};

const FLUSH = "flush of the instruction cache";
const BARRIER = "barrier on all cores (membarrier)";

/** x86 keeps its instruction cache coherent with writes, including those through another view of the memory. */
export const coherentCache: InstructionCache = {
  isCoherent: true,
  flush: () => undefined,
  probe: () => [{ name: FLUSH, ok: true, detail: "not needed: the processor keeps it coherent" }],
};

/** An instruction cache that must be cleared for new code, on a processor whose cores each need the barrier as well. */
export class ClearedCache implements InstructionCache {
  readonly #find: () => ClearCache | undefined;
  readonly #barrier: CoreBarrier | undefined;
  #clearCache: ClearCache | undefined;

  /** @param find looks the routine up when it is first needed; may throw a JitError. */
  constructor(find: () => ClearCache | undefined, barrier?: CoreBarrier) {
    this.#find = find;
    this.#barrier = barrier;
  }

  /** @throws JitError `ERR_FEATURE_NOT_ENABLED` where there is no routine, or the system's refusal to make one */
  flush(address: Address, sizeBytes: number): void {
    this.#routine().call(address, address + sizeBytes);
    this.#barrier?.raise();
  }

  probe(): readonly ProbeStep[] {
    const flush = probeStep(FLUSH, () => `by ${this.#routine().origin}`);
    return this.#barrier === undefined ? [flush] : [flush, probeBarrier(this.#barrier)];
  }

  #routine(): ClearCache {
    this.#clearCache ??= this.#find();
    if (this.#clearCache === undefined) {
      throw new JitError(
        "ERR_FEATURE_NOT_ENABLED",
        "Cannot flush the instruction cache: the system has no libgcc_s.so.1 with __clear_cache; install libgcc",
      );
    }
    return this.#clearCache;
  }
}

function probeBarrier(barrier: CoreBarrier): ProbeStep {
  return probeStep(BARRIER, () => {
    const errno = barrier.register();
    if (errno === 0) return "code that one thread writes is safe to run in every other";
    throw new JitError(
      "ERR_FEATURE_NOT_ENABLED",
      `membarrier: ${errnoName(errno)} (${errno}); a thread may go on with what it fetched before, where code is ` +
        "replaced while other threads run; Linux 4.16 or later has it, unless a seccomp filter forbids it",
      { syscall: "membarrier", errno },
    );
  });
}
