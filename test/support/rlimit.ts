/** The limits of this process, set for real: a soft limit can be lowered and raised again without any right. */
import assert from "node:assert/strict";
import { systemFfi } from "../../src/ffi/select.ts";

/** Resources of setrlimit(2) on Linux. */
export const Limit = { FSIZE: 1, NOFILE: 7, AS: 9 } as const;

/** Does `act` while the soft limit of a resource is `value`; the limit of before is in force again behind. */
export function withLimit<T>(resource: number, value: number, act: () => T): T {
  const libc = systemFfi().open(["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"]);
  const signature = { parameters: ["i32", "buffer"], result: "i32" } as const;
  const getrlimit = libc.find("getrlimit", signature);
  const setrlimit = libc.find("setrlimit", signature);
  assert.ok(getrlimit && setrlimit);
  const before = new BigUint64Array(2);
  assert.equal(getrlimit(resource, before), 0);
  assert.equal(setrlimit(resource, BigUint64Array.of(BigInt(value), before[1] ?? 0n)), 0);
  try {
    return act();
  } finally {
    setrlimit(resource, before);
  }
}
