/** The least that a call can do which may throw for code that was released: what `bench:calls` cannot be below. */
import type { NativeFunction } from "../src/ffi/contract.ts";
import { compile } from "../src/base/generated.ts";
import { platform } from "../src/base/platform.ts";
import { cellValue, Stubs } from "../src/engine/stubs.ts";
import { systemFfi } from "../src/ffi/select.ts";
import { calledSignature } from "../src/api/value-types.ts";
import type { Address, Signature } from "../src/index.ts";
import { systemMemory } from "../src/vm/select.ts";

/** More calls than any interface waits for before it makes a fast way to call. */
const MANY_CALLS = 10_000;

/** Functions that compare one count, store their address in the cell of a stub, and call the function of the stub. */
export function leastFunctions(
  addresses: readonly Address[],
  signature: Signature,
): readonly NativeFunction[] {
  const { parameters } = signature;
  const stub = new Stubs(systemMemory(), systemFfi(), platform.processor).take();
  if (stub === undefined) throw new Error("There are no stubs here");
  const { cell } = stub;
  const takingDoubles = stub.takingDoubles(parameters.length);
  const target = systemFfi().callable(stub.address, calledSignature(signature), takingDoubles);
  cell[0] = cellValue(addresses[0] ?? 0);
  const first = parameters.map((type) => (type === "buffer" ? new Float64Array(1) : 1));
  for (let count = 0; count < MANY_CALLS && target.fast === undefined; count++) target.call(...first);
  const make = compile<(...values: unknown[]) => (address: number, count: number) => NativeFunction>(
    ["call", "cell", "owner"],
    `return (address, count) => (a0, a1) => {
      if (owner.releaseCount !== count) throw new Error("released");
      cell[0] = address;
      return call(a0, a1);
    };`,
  );
  if (make === undefined) throw new Error("This process does not allow functions from text");
  // Written twice: engines take a field that is written once for a constant.
  const owner = { releaseCount: 0 };
  owner.releaseCount = 100;
  const bind = make(target.fast ?? target.call, cell, owner);
  return addresses.map((address) => bind(cellValue(address), owner.releaseCount));
}
