import type { ProcessorName } from "./platform.ts";

/** How an ELF file names the processor that its code is for (e_machine). */
export const ELF_MACHINES: Readonly<Record<ProcessorName, number | undefined>> = {
  x64: 62,
  arm64: 183,
  other: undefined,
};
