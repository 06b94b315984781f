/**
 * Two views of the same memory, made by Mach: ordinary memory, mapped a second time by `mach_vm_remap`.
 *
 * MAP_JIT memory is not used, on purpose. On Apple silicon a thread has all MAP_JIT memory of its process either writable
 * or executable, and `pthread_jit_write_protect_np` switches. Called from JavaScript, it would return into code of the
 * engine that the thread may no longer execute. Two views need no switch. Instead the process must be allowed to execute
 * unsigned memory: one that is not hardened is, and Node's own binary is signed with the entitlements for it
 * (tools/osx-entitlements.plist of Node).
 *
 * Both views lie in one range, so that giving them back is one munmap, which does the whole or nothing. The same munmap
 * undoes a failure at any point before:
 *
 *     rx                      rw = rx + size
 *     ├── read and execute ───┼── read and write ────┤
 */
import type { Address } from "../../ffi/contract.ts";
import type { DualMapping } from "../contract.ts";
import { Inheritance, KERN_SUCCESS, MAP_FAILED, MapFlag, Protection, RemapFlag } from "./libsystem.ts";
import type { LibSystem, Port } from "./libsystem.ts";
import { machError, posixError } from "./refusals.ts";

/**
 * Makes a dual mapping.
 *
 * @throws JitError; nothing is mapped then.
 */
export function mapTwice(libSystem: LibSystem, task: Port, sizeBytes: number): DualMapping {
  const asked = `map ${sizeBytes} bytes twice, executable and writable`;
  const writable = Protection.READ | Protection.WRITE;
  const rx = libSystem.mmap(0, 2 * sizeBytes, writable, MapFlag.PRIVATE | MapFlag.ANONYMOUS, -1, 0);
  if (rx === MAP_FAILED) throw posixError(asked, "mmap", libSystem.errno());
  const rw = rx + sizeBytes;
  try {
    remap(libSystem, task, rw, rx, sizeBytes, asked);
    limit(libSystem, task, rx, sizeBytes, Protection.READ | Protection.EXECUTE, asked);
    limit(libSystem, task, rw, sizeBytes, writable, asked);
  } catch (error) {
    libSystem.munmap(rx, 2 * sizeBytes);
    throw error;
  }
  return { rx, rw };
}

/** Maps the memory at `source` a second time, over what is mapped at `target`. */
function remap(
  libSystem: LibSystem,
  task: Port,
  source: Address,
  target: Address,
  sizeBytes: number,
  asked: string,
): void {
  const result = libSystem.mach_vm_remap(
    task,
    BigUint64Array.of(BigInt(target)),
    sizeBytes,
    0,
    RemapFlag.FIXED | RemapFlag.OVERWRITE,
    task,
    source,
    0,
    new Int32Array(1),
    new Int32Array(1),
    Inheritance.NONE,
  );
  if (result !== KERN_SUCCESS) throw machError(asked, "mach_vm_remap", result);
}

/**
 * Limits a view's access for good. The maximum is set first, so that the view never has more access than it should, and
 * an executable view can never be made writable again.
 */
function limit(
  libSystem: LibSystem,
  task: Port,
  address: Address,
  sizeBytes: number,
  protection: number,
  asked: string,
): void {
  for (const setMaximum of [1, 0]) {
    const result = libSystem.mach_vm_protect(task, address, sizeBytes, setMaximum, protection);
    if (result !== KERN_SUCCESS) throw machError(asked, "mach_vm_protect", result);
  }
}
