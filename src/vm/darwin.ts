/**
 * The virtual memory of macOS: experimental, because it has never run on a Mac. Its sequence of native calls is tested
 * on a fake of the system; docs/architecture.md says what that leaves unproven.
 */
import { JitError, formatAddress } from "../base/errors.ts";
import type { Address, Ffi } from "../ffi/contract.ts";
import { WAY_OUT, attempt, describeAccess, withWayOut } from "./attempts.ts";
import { cannotStore } from "./atomic-stores.ts";
import type { AtomicStores } from "./atomic-stores.ts";
import type {
  DualMapping,
  HardenedRuntimeInfo,
  MappingJournals,
  MappingTag,
  MemoryFlags,
  MemoryInfo,
  MemoryLimit,
  ProbeStep,
  VirtualMemory,
} from "./contract.ts";
import { mapTwice } from "./darwin/dual-mapping.ts";
import { DarwinJournals, notedLibSystem } from "./darwin/journaling.ts";
import type { NotedLibSystem } from "./darwin/journaling.ts";
import { MAP_FAILED, MapFlag, Protection } from "./darwin/libsystem.ts";
import type { LibSystem, Port } from "./darwin/libsystem.ts";
import { probe } from "./darwin/probe.ts";
import { posixError } from "./darwin/refusals.ts";

/** The differences between the processors of Macs. */
export interface DarwinProcessor {
  /** True where written code must be flushed before it runs. */
  readonly needsFlush: boolean;
  /** True where a thread has MAP_JIT memory either writable or executable, and must switch (Apple silicon). */
  readonly switchesJitMemory: boolean;
}

/** The parts that macOS memory is built from. */
export interface DarwinMemoryParts {
  readonly libSystem: LibSystem;
  readonly ffi: Pick<Ffi, "view" | "detach">;
  readonly processor: DarwinProcessor;
  /** How bytes are stored in one access; absent where nothing is to be. */
  readonly stores?: AtomicStores;
}

const EVERYTHING: MemoryFlags = { read: true, write: true, execute: true };
/** Replaces the way out where the system has no memory of the other kind. */
const NO_WAY_OUT =
  "`useDualMapping: false` is no way out: Apple silicon has no memory that is writable and executable at once";
const ANONYMOUS = MapFlag.PRIVATE | MapFlag.ANONYMOUS;

/** {@link VirtualMemory} on macOS. */
export class DarwinMemory implements VirtualMemory {
  readonly name = "darwin";
  /** What has never run on a Mac is kept as short as can be. */
  readonly noRanges = "on macOS, where it never ran, this library makes no reservation to map blocks into";
  readonly journals: MappingJournals;
  readonly #libSystem: NotedLibSystem;
  readonly #ffi: Pick<Ffi, "view" | "detach">;
  readonly #processor: DarwinProcessor;
  #pageSize: number | undefined;
  #task: Port | undefined;

  readonly #stores: AtomicStores | undefined;

  constructor(parts: DarwinMemoryParts) {
    this.#stores = parts.stores;
    this.#libSystem = notedLibSystem(parts.libSystem);
    this.journals = new DarwinJournals(this.#libSystem);
    this.#ffi = parts.ffi;
    this.#processor = parts.processor;
  }

  info(): MemoryInfo {
    const pageSize = (this.#pageSize ??= this.#libSystem.getpagesize());
    return { pageSize, pageGranularity: pageSize };
  }

  largePageSize(): number {
    // Intel Macs have superpages, but it is not known whether mach_vm_remap shares them; Apple silicon has none.
    return 0;
  }

  alloc(sizeBytes: number, flags: MemoryFlags, tag?: MappingTag): Address {
    return this.#libSystem.noter.noting(tag?.journal, () => this.#alloc(sizeBytes, flags));
  }

  #alloc(sizeBytes: number, flags: MemoryFlags): Address {
    const libSystem = this.#libSystem;
    const protection = protectionOf(flags);
    const address = libSystem.mmap(0, sizeBytes, protection, ANONYMOUS, -1, 0);
    if (address !== MAP_FAILED) return address;
    const errno = libSystem.errno();
    const isWritableCode = flags.write === true && flags.execute === true;
    if (isWritableCode && !this.#processor.switchesJitMemory) {
      // A hardened process gets such memory only with this flag and the entitlement com.apple.security.cs.allow-jit.
      const jitMemory = libSystem.mmap(0, sizeBytes, protection, ANONYMOUS | MapFlag.JIT, -1, 0);
      if (jitMemory !== MAP_FAILED) return jitMemory;
    }
    throw posixError(
      `map ${sizeBytes} bytes (${describeAccess(flags)})`,
      "mmap",
      errno,
      isWritableCode
        ? "macOS forbids memory that is writable and executable at once; leave `useDualMapping` on"
        : undefined,
    );
  }

  release(address: Address, sizeBytes: number, tag?: MappingTag): void {
    this.#libSystem.noter.noting(tag?.journal, () => this.#release(address, sizeBytes));
  }

  #release(address: Address, sizeBytes: number): void {
    if (this.#libSystem.munmap(address, sizeBytes) !== 0) {
      const asked = `unmap ${sizeBytes} bytes at ${formatAddress(address)}`;
      throw posixError(asked, "munmap", this.#libSystem.errno());
    }
  }

  protect(address: Address, sizeBytes: number, flags: MemoryFlags): void {
    if (this.#libSystem.mprotect(address, sizeBytes, protectionOf(flags)) !== 0) {
      const asked = `change ${sizeBytes} bytes at ${formatAddress(address)} to ${describeAccess(flags)}`;
      throw posixError(asked, "mprotect", this.#libSystem.errno());
    }
  }

  allocDualMapping(sizeBytes: number, _flags: MemoryFlags, tag?: MappingTag): DualMapping {
    const wayOut = this.#processor.switchesJitMemory ? NO_WAY_OUT : WAY_OUT;
    return this.#libSystem.noter.noting(tag?.journal, () =>
      withWayOut(() => mapTwice(this.#libSystem, this.#taskSelf(), sizeBytes), wayOut),
    );
  }

  releaseDualMapping({ rx, rw }: DualMapping, sizeBytes: number, tag?: MappingTag): void {
    if (rw === rx + sizeBytes) {
      this.release(rx, 2 * sizeBytes, tag);
      return;
    }
    this.release(rx, sizeBytes, tag);
    this.release(rw, sizeBytes, tag);
  }

  flushInstructionCache(address: Address, sizeBytes: number): void {
    if (this.#processor.needsFlush) this.#libSystem.sys_icache_invalidate(address, sizeBytes);
  }

  hardenedRuntimeInfo(): HardenedRuntimeInfo {
    const { pageSize } = this.info();
    const isAllowed = (flags: number): boolean => {
      const address = this.#libSystem.mmap(0, pageSize, protectionOf(EVERYTHING), ANONYMOUS | flags, -1, 0);
      if (address !== MAP_FAILED) this.release(address, pageSize);
      return address !== MAP_FAILED;
    };
    const enabled = !isAllowed(0);
    const mapJit = isAllowed(MapFlag.JIT);
    const dualMapping = attempt(() => this.allocDualMapping(pageSize, {}));
    if (dualMapping !== undefined) this.releaseDualMapping(dualMapping, pageSize);
    return { enabled, mapJit, dualMapping: dualMapping !== undefined };
  }

  /**
   * On Intel there is nothing to switch. On Apple silicon every thread has its MAP_JIT memory executable already. The
   * JavaScript that asked for writable memory would itself lie in that memory, and could not go on.
   */
  protectJitMemory(access: "read-write" | "read-execute"): void {
    if (access === "read-execute" || !this.#processor.switchesJitMemory) return;
    throw new JitError(
      "ERR_FEATURE_NOT_ENABLED",
      "Cannot switch JIT memory to read-write: the JavaScript engine has its own code in such memory, and could not " +
        "go on; write through the writable view of a dual mapping",
    );
  }

  openView(address: Address, sizeBytes: number): Uint8Array {
    return new Uint8Array(this.#ffi.view(address, sizeBytes));
  }

  closeView(view: Uint8Array): void {
    const { buffer } = view;
    if (buffer instanceof ArrayBuffer) this.#ffi.detach(buffer);
  }

  copyIn(address: Address, bytes: Uint8Array, length: number): void {
    this.#libSystem.memcpyIn(address, bytes, length);
  }

  storeAtomically(address: Address, bytes: Uint8Array): void {
    if (this.#stores === undefined) throw cannotStore();
    this.#stores.store(this, address, bytes);
  }

  copyOut(address: Address, copy: Uint8Array): void {
    this.#libSystem.memcpyOut(copy, address, copy.length);
  }

  probe(): readonly ProbeStep[] {
    return probe(this.#libSystem, this.#taskSelf(), this.info().pageSize);
  }

  limits(): readonly MemoryLimit[] {
    // Neither descriptors nor files are used, and macOS does not limit the addresses of a process.
    return [];
  }

  #taskSelf(): Port {
    return (this.#task ??= this.#libSystem.mach_task_self());
  }
}

function protectionOf({ read, write, execute }: MemoryFlags): number {
  return (
    (read === true ? Protection.READ : Protection.NONE) |
    (write === true ? Protection.WRITE : Protection.NONE) |
    (execute === true ? Protection.EXECUTE : Protection.NONE)
  );
}
