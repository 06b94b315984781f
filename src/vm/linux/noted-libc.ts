/** libc as guarded memory is made with it: while there is a journal, each call that makes or unmakes something is noted. */
import type { Address } from "../../ffi/contract.ts";
import { Call } from "../journal.ts";
import { Noter } from "../noter.ts";
import { MAP_FAILED } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";

const opening = { call: Call.open, failure: -1, isWide: false };

/** The functions that are noted. */
const NOTED = {
  mmap: { call: Call.map, failure: MAP_FAILED, isWide: true },
  munmap: { call: Call.unmap, failure: -1, isWide: false },
  memfd_create: opening,
  shm_open: opening,
  open: opening,
  close: { call: Call.close, failure: -1, isWide: false },
};
type Opening = "memfd_create" | "shm_open" | "open";

/** {@link LinuxLibc} that notes, while its noter is told to. */
export class NotedLibc implements LinuxLibc {
  readonly noter = new Noter(NOTED);
  readonly #libc: LinuxLibc;
  #lastName = "";
  #lastNameBytes = new Uint8Array(1);

  constructor(libc: LinuxLibc) {
    this.#libc = libc;
  }

  errno(): number {
    return this.noter.lastRoutine?.errno() ?? this.#libc.errno();
  }

  // --- what is noted ----------------------------------------------------------------------------------------------

  mmap(
    address: Address,
    sizeBytes: number,
    protection: number,
    flags: number,
    descriptor: number,
    offset: number,
  ): Address {
    return this.noter.call(
      "mmap",
      0,
      sizeBytes,
      (routine, target, result) =>
        routine.call(result, target, address, sizeBytes, protection, flags, descriptor, offset),
      () => this.#libc.mmap(address, sizeBytes, protection, flags, descriptor, offset),
    );
  }

  munmap(address: Address, sizeBytes: number): number {
    return this.noter.call(
      "munmap",
      address,
      sizeBytes,
      (routine, target, result) => routine.call(result, target, address, sizeBytes, 0, 0, 0, 0),
      () => this.#libc.munmap(address, sizeBytes),
    );
  }

  memfd_create(name: string, flags: number): number {
    return this.#open("memfd_create", name, flags, 0);
  }

  shm_open(name: string, flags: number, mode: number): number {
    return this.#open("shm_open", name, flags, mode);
  }

  open(path: string, flags: number, mode: number): number {
    return this.#open("open", path, flags, mode);
  }

  close(descriptor: number): number {
    return this.noter.call(
      "close",
      descriptor,
      0,
      (routine, target, result) => routine.call(result, target, descriptor, 0, 0, 0, 0, 0),
      () => this.#libc.close(descriptor),
    );
  }

  #open(symbol: Opening, name: string, flags: number, mode: number): number {
    return this.noter.call(
      symbol,
      0,
      0,
      (routine, target, result) =>
        routine.callWithBytes(result, target, this.#bytesOf(name), flags, mode, 0, 0, 0),
      () => this.#libc[symbol](name, flags, mode),
    );
  }

  /** All memfds of an allocator have one name. */
  #bytesOf(name: string): Uint8Array {
    if (name !== this.#lastName) {
      this.#lastName = name;
      this.#lastNameBytes = new TextEncoder().encode(`${name}\0`);
    }
    return this.#lastNameBytes;
  }

  // --- what makes and unmakes nothing -----------------------------------------------------------------------------

  getpagesize(): number {
    return this.#libc.getpagesize();
  }

  mprotect(address: Address, sizeBytes: number, protection: number): number {
    return this.#plain().mprotect(address, sizeBytes, protection);
  }

  madvise(address: Address, sizeBytes: number, advice: number): number {
    return this.#plain().madvise(address, sizeBytes, advice);
  }

  shm_unlink(name: string): number {
    return this.#plain().shm_unlink(name);
  }

  unlink(path: string): number {
    return this.#plain().unlink(path);
  }

  ftruncate(descriptor: number, sizeBytes: number): number {
    return this.#plain().ftruncate(descriptor, sizeBytes);
  }

  posix_fallocate(descriptor: number, offset: number, sizeBytes: number): number {
    return this.#plain().posix_fallocate(descriptor, offset, sizeBytes);
  }

  fcntl(descriptor: number, command: number, argument: number): number {
    return this.#plain().fcntl(descriptor, command, argument);
  }

  prepare(): void {
    this.#libc.prepare();
  }

  memcpyIn(address: Address, bytes: Uint8Array, sizeBytes: number): void {
    this.#libc.memcpyIn(address, bytes, sizeBytes);
  }

  memcpyOut(bytes: Uint8Array, address: Address, sizeBytes: number): void {
    this.#libc.memcpyOut(bytes, address, sizeBytes);
  }

  gettid(): number {
    return this.#plain().gettid();
  }

  tgkill(process: number, thread: number, signal: number): number {
    return this.#plain().tgkill(process, thread, signal);
  }

  getrlimit(resource: number, result: BigUint64Array): number {
    return this.#plain().getrlimit(resource, result);
  }

  #plain(): LinuxLibc {
    this.noter.skip();
    return this.#libc;
  }
}
