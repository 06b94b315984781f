/**
 * Writes `/tmp/perf-PID.map`, which perf reads for the names of code in anonymous memory: a line for each piece, with its
 * address and its size in hexadecimal and its name.
 *
 * perf looks there only where memory is no file's. Memory that is mapped twice is a file's (a memfd), and so is the range:
 * perf then shows that file's name. So this works with `{ useDualMapping: false, useRange: false }` alone.
 */
import { builtin } from "../base/builtins.ts";
import { JitError } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";
import type { KnownCode } from "./elf-object.ts";

/** The map of this process. */
export class PerfMap {
  /** The file. */
  readonly path = `/tmp/perf-${process.pid}.map`;
  readonly #descriptor: number;
  #hasWarned = false;

  /** @throws JitError `ERR_FEATURE_NOT_ENABLED` where the file cannot be opened */
  constructor() {
    this.#descriptor = openMap(this.path);
  }

  /** Announces code; `rw` is the address by which it is written. */
  add({ rx, sizeBytes, name }: KnownCode, rw: Address): void {
    if (rw !== rx || !isAnonymous(rx)) {
      this.#warn();
      return;
    }
    const line = `${rx.toString(16)} ${sizeBytes.toString(16)} ${name.replaceAll(/[\0\r\n]/g, "?")}\n`;
    builtin("node:fs").appendFileSync(this.#descriptor, line);
  }

  #warn(): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    process.emitWarning(
      "perf does not use its map for this code: its memory belongs to a file in memory, whose name perf shows instead. " +
        "Make the allocator with { useDualMapping: false, useRange: false }, or announce a jitdump",
      { code: "JIT_ALLOCATOR_PERF_MAP" },
    );
  }
}

/** Opens the map to append to it: other threads and the runtime itself (`--perf-basic-prof`) write to it too. */
function openMap(path: string): number {
  const { closeSync, constants, fstatSync, ftruncateSync, openSync } = builtin("node:fs");
  const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW } = constants;
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
    const startedAt = Date.now() - process.uptime() * 1000;
    // An earlier process had the same number. A second, because the system's clock ticks more slowly than this one.
    if (fstatSync(descriptor).mtimeMs < startedAt - 1000) ftruncateSync(descriptor);
    return descriptor;
  } catch (cause) {
    if (descriptor !== undefined) closeSync(descriptor);
    const message = `Cannot write a map for perf: ${path} cannot be opened`;
    throw new JitError("ERR_FEATURE_NOT_ENABLED", message, { cause });
  }
}

/** The last answer, which holds for a whole mapping: code is added beside code. */
let last: { readonly start: Address; readonly end: Address; readonly isAnonymous: boolean } | undefined;

/** Whether an address lies in memory that is no file's. */
function isAnonymous(address: Address): boolean {
  if (last === undefined || address < last.start || address >= last.end) last = readMapping(address);
  return last.isAnonymous;
}

/** Reads the mapping that contains an address: `start-end access offset device inode path`. */
function readMapping(address: Address): { start: Address; end: Address; isAnonymous: boolean } {
  const maps = builtin("node:fs").readFileSync("/proc/self/maps", "utf8");
  for (const line of maps.split("\n")) {
    const [range = "", , , , inode] = line.split(/ +/, 5);
    const [start = 0, end = 0] = range.split("-").map((text) => Number.parseInt(text, 16));
    if (address >= start && address < end) return { start, end, isAnonymous: inode === "0" };
  }
  return { start: address, end: address + 1, isAnonymous: false };
}
