/** Tells the C library of this program. */
import { builtin } from "./builtins.ts";

/** glibc's loader, which the head of a program's file names; musl's has another name. */
const GLIBC_LOADER = "/ld-linux-";

/** How much of the file is read, in bytes: the name stands behind a dozen headers of 56 bytes. */
const HEAD_BYTES = 4096;

/** Whether this program was linked with glibc, as its file says. @throws what `node:fs` throws where it may not be read */
export function isOfGlibc(program = process.execPath): boolean {
  const { openSync, readSync, closeSync } = builtin("node:fs");
  const file = openSync(program, "r");
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    readSync(file, head, 0, HEAD_BYTES, 0);
    return head.includes(GLIBC_LOADER);
  } finally {
    closeSync(file);
  }
}
