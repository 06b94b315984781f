/** Machine code that the benchmarks call. */
import { platform } from "../src/base/platform.ts";

/** A function that adds its two 32-bit arguments, for this processor and its calling convention. */
export function addFunctionCode(): Uint8Array {
  if (platform.processor === "arm64") {
    // add w0, w0, w1; ret
    return Uint8Array.of(0x00, 0x00, 0x01, 0x0b, 0xc0, 0x03, 0x5f, 0xd6);
  }
  if (platform.system === "windows") {
    // lea eax, [rcx + rdx]; ret
    return Uint8Array.of(0x8d, 0x04, 0x11, 0xc3);
  }
  // lea eax, [rdi + rsi]; ret
  return Uint8Array.of(0x8d, 0x04, 0x37, 0xc3);
}
