/** Machine code for x86-64 that keeps frames: what debuggers and profilers walk. */

/** A function with a frame pointer that calls another one. */
export function callThrough(target: number): Uint8Array {
  // push rbp; mov rbp, rsp; push rbx; sub rsp, 8; mov rax, target; call rax; add rsp, 8; pop rbx; pop rbp; ret
  const code = new Uint8Array([
    ...[0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x83, 0xec, 0x08, 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0],
    ...[0xff, 0xd0, 0x48, 0x83, 0xc4, 0x08, 0x5b, 0x5d, 0xc3],
  ]);
  new DataView(code.buffer).setBigUint64(11, BigInt(target), true);
  return code;
}

/** A function that counts down from `times`: about a nanosecond for two or three of them. */
export function countDown(times: number): Uint8Array {
  // push rbx; mov ecx, times; dec ecx; jnz −4; pop rbx; ret
  const code = new Uint8Array([0x53, 0xb9, 0, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0x5b, 0xc3]);
  new DataView(code.buffer).setUint32(2, times, true);
  return code;
}
