/** Making written code visible to the processor that will run it. */
import type { Address, Ffi, NativeFunction } from "../../ffi/contract.ts";
import { JitError } from "../../errors.ts";
import type { ProcessorName } from "../../platform.ts";

/** Makes code written to `[address, address + sizeBytes)` safe to run. */
export type InstructionCacheFlush = (address: Address, sizeBytes: number) => void;

/** The way each processor needs. */
export function instructionCacheFlush(ffi: Ffi, processor: ProcessorName): InstructionCacheFlush {
  return flushes[processor](ffi);
}

const flushes: Readonly<Record<ProcessorName, (ffi: Ffi) => InstructionCacheFlush>> = {
  // x86 keeps its instruction cache coherent with writes, also with those through another view of the memory.
  x64: () => () => undefined,
  arm64: throughLibgcc,
  other: throughLibgcc,
};

/** `__clear_cache` of the compiler's run-time library knows what the processor needs. */
function throughLibgcc(ffi: Ffi): InstructionCacheFlush {
  let clearCache: NativeFunction | undefined;
  return (address, sizeBytes) => {
    clearCache ??= ffi
      .open(["libgcc_s.so.1"])
      .find("__clear_cache", { parameters: ["pointer", "pointer"], result: "void" });
    if (clearCache === undefined) {
      throw new JitError(
        "ERR_FEATURE_NOT_ENABLED",
        "Cannot flush the instruction cache: libgcc_s.so.1 has no __clear_cache",
      );
    }
    clearCache(address, address + sizeBytes);
  };
}
