/** The functions that `bench:calls` calls. */
import type { Signature } from "../src/index.ts";

/** A signature with code for it (x86-64, System V). */
export interface CallKind {
  readonly name: string;
  readonly signature: Signature;
  /** For a callback: jumps to it. */
  readonly code: Uint8Array | ((callback: number) => Uint8Array);
  /** The expression after `s`, the value that a loop carries, that calls `callee`. */
  step(callee: string): string;
}

/** Nanoseconds a call. */
export interface CallFigures {
  readonly runtime: string;
  readonly ffi: string;
  readonly kind: string;
  /** The number of functions that are called in turn. */
  readonly count: number;
  /** The figure of each way of calling that the runtime has, without this library. */
  readonly raw: Readonly<Record<string, number>>;
  readonly ours: number;
  /** That of the least that a call can do: calls-least.ts. */
  readonly least?: number;
}

export const callKinds: readonly CallKind[] = [
  {
    name: "i32(i32,i32)",
    signature: { parameters: ["i32", "i32"], result: "i32" },
    code: Uint8Array.of(0x8d, 0x04, 0x37, 0xc3), // lea eax, [rdi + rsi]; ret
    step: (callee) => `= ${callee}(s, i)`,
  },
  {
    name: "f64(f64,f64)",
    signature: { parameters: ["f64", "f64"], result: "f64" },
    code: Uint8Array.of(0xf2, 0x0f, 0x58, 0xc1, 0xc3), // addsd xmm0, xmm1; ret
    step: (callee) => `= ${callee}(s, 1.5)`,
  },
  {
    name: "f64(buffer,i32)",
    signature: { parameters: ["buffer", "i32"], result: "f64" },
    code: Uint8Array.of(0xf2, 0x0f, 0x10, 0x07, 0xc3), // movsd xmm0, [rdi]; ret
    step: (callee) => `+= ${callee}(buffer, i)`,
  },
  {
    name: "callback i32(i32,i32)",
    signature: { parameters: ["i32", "i32"], result: "i32" },
    code: jumpTo,
    step: (callee) => `= ${callee}(s, i)`,
  },
  {
    name: "callback f64(f64,f64)",
    signature: { parameters: ["f64", "f64"], result: "f64" },
    code: jumpTo,
    step: (callee) => `= ${callee}(s, 1.5)`,
  },
];

/** mov r11, address; jmp r11 */
function jumpTo(address: number): Uint8Array {
  const code = Uint8Array.of(0x49, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x41, 0xff, 0xe3);
  new DataView(code.buffer).setBigUint64(2, BigInt(address), true);
  return code;
}
