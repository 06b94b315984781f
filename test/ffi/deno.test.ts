/** What Deno is told of a signature, seen on any runtime. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openDeno, type DenoFfiNamespace } from "../../src/ffi/deno.ts";
import type { NativeType } from "../../src/ffi/contract.ts";
import { platform } from "../../src/base/platform.ts";

/** A namespace that notes the parameters of each function that is made of an address. */
function recordingDeno(): { deno: DenoFfiNamespace; parameters: (readonly string[])[] } {
  const parameters: (readonly string[])[] = [];
  const deno: DenoFfiNamespace = {
    dlopen: () => ({ symbols: {}, close: () => undefined }),
    UnsafePointer: { create: () => ({}), of: () => ({}), value: () => 0n },
    UnsafePointerView: class {
      static getArrayBuffer(): ArrayBuffer {
        return new ArrayBuffer(8);
      }
      getInt32(): number {
        return 0;
      }
    },
    UnsafeFnPointer: class {
      constructor(_pointer: object | null, signature: { readonly parameters: readonly string[] }) {
        parameters.push(signature.parameters);
      }
      readonly call = (): undefined => undefined;
    },
    UnsafeCallback: class {
      readonly pointer = {};
      close(): void {
        // Nothing is held.
      }
    },
  };
  return { deno, parameters };
}

test("narrow integers are given to Deno as 32 bits, since it leaves garbage above them on the stack", () => {
  const { deno, parameters } = recordingDeno();
  const types: readonly NativeType[] = ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "f32"];
  openDeno(deno).callable(4096, { parameters: types, result: "i8" });
  const packsTheStack = platform.system === "darwin" && platform.processor === "arm64";
  const narrow = packsTheStack ? ["i8", "u8", "i16", "u16"] : ["i32", "u32", "i32", "u32"];
  assert.deepEqual(parameters, [[...narrow, "i32", "u32", "i64", "f32"]]);
});
