/** A seccomp filter: the system refuses a call, as in a container with a strict profile. It stays for good. */
import assert from "node:assert/strict";
import { systemFfi } from "../../src/ffi/select.ts";
import { platform } from "../../src/base/platform.ts";

/** Numbers of system calls by processor. */
const NUMBERS = {
  memfd_create: { x64: 319, arm64: 279 },
  madvise: { x64: 28, arm64: 233 },
  mprotect: { x64: 10, arm64: 226 },
  mseal: { x64: 462, arm64: 462 },
} as const;
const ENOSYS = 38;

/** From now on this thread's call of that name fails with ENOSYS. @param third only where its third argument is that */
export function refuseCall(name: keyof typeof NUMBERS, third?: number): void {
  const { processor } = platform;
  assert.ok(processor === "x64" || processor === "arm64");
  // struct sock_filter { u16 code; u8 jt, jf; u32 k }, six of them.
  const filter = new DataView(new ArrayBuffer(6 * 8));
  const instruction = (index: number, code: number, jt: number, jf: number, k: number): void => {
    filter.setUint16(8 * index, code, true);
    filter.setUint8(8 * index + 2, jt);
    filter.setUint8(8 * index + 3, jf);
    filter.setUint32(8 * index + 4, k, true);
  };
  instruction(0, 0x20, 0, 0, 0); // load the number of the call
  instruction(1, 0x15, 0, 3, NUMBERS[name][processor]); // is it this one?
  instruction(2, 0x20, 0, 0, 32); // load the lower half of the third argument
  instruction(3, 0x15, 0, third === undefined ? 0 : 1, third ?? 0);
  instruction(4, 0x06, 0, 0, 0x0005_0000 | ENOSYS); // SECCOMP_RET_ERRNO
  instruction(5, 0x06, 0, 0, 0x7fff_0000); // SECCOMP_RET_ALLOW
  const libc = systemFfi().open(["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"]);
  const prctlOf = (last: "u64" | "buffer") =>
    libc.find("prctl", { parameters: ["i32", "u64", last, "u64", "u64"], result: "i32", fixedParameters: 1 });
  // struct sock_fprog { u16 length; sock_filter *filter }: the pointer is filled in by a copy of the library's own.
  const memcpy = libc.find("memcpy", { parameters: ["buffer", "buffer", "pointer"], result: "pointer" });
  assert.ok(memcpy);
  const filterAddress = memcpy(filter, filter, 0) as number;
  const program = new DataView(new ArrayBuffer(16));
  program.setUint16(0, 6, true);
  program.setBigUint64(8, BigInt(filterAddress), true);
  assert.equal(prctlOf("u64")?.(38, 1n, 0n, 0n, 0n), 0, "PR_SET_NO_NEW_PRIVS");
  assert.equal(prctlOf("buffer")?.(22, 2n, program, 0n, 0n), 0, "PR_SET_SECCOMP");
}
