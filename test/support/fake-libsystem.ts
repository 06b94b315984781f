/**
 * A Mac in JavaScript, behind the interface of libSystem: it keeps account of what is mapped where, and of which views
 * show the same memory, so that a test can ask what was left behind, and it fails where it is told to.
 * What would corrupt a real process, or be forbidden in a way that ends it, throws a plain Error.
 */
import type { Address } from "../../src/ffi/contract.ts";
import { DarwinMemory } from "../../src/vm/darwin.ts";
import type { DarwinProcessor } from "../../src/vm/darwin.ts";
import {
  Inheritance,
  KERN_SUCCESS,
  MAP_FAILED,
  MapFlag,
  Protection,
  RemapFlag,
} from "../../src/vm/darwin/libsystem.ts";
import type { LibSystem, Port } from "../../src/vm/darwin/libsystem.ts";
import { FakeAddressSpace } from "./fake-address-space.ts";
import { FakeCalls } from "./fake-calls.ts";
import type { FakeSystem } from "./fault-walk.ts";

/** The numbers that the fake answers with, from the headers of macOS. */
export const Errno = { EPERM: 1, ENOMEM: 12, EACCES: 13, EINVAL: 22, ENOTSUP: 45 } as const;
export const KernReturn = {
  INVALID_ADDRESS: 1,
  PROTECTION_FAILURE: 2,
  NO_SPACE: 3,
  INVALID_ARGUMENT: 4,
  RESOURCE_SHORTAGE: 6,
} as const;

/** What the machine is like. */
export interface FakeMac {
  readonly processor: "Intel" | "Apple silicon";
  /** Hardened, and signed without the entitlement allow-unsigned-executable-memory. Default false. */
  readonly hardened?: boolean;
  /** Hardened or not: whether MAP_JIT is granted. Default true. */
  readonly mayMapJit?: boolean;
}

interface FakeMapping {
  readonly start: Address;
  readonly sizeBytes: number;
  readonly protection: number;
  readonly maximum: number;
  readonly isJit: boolean;
  /** Whose memory it shows. */
  readonly object: symbol;
  /** Where the first byte of that memory would be: what does not change when a mapping is cut. */
  readonly origin: Address;
}

type LibSystemCall = Exclude<
  keyof LibSystem,
  "errno" | "getpagesize" | "mach_task_self" | "sys_icache_invalidate" | "memcpyIn" | "memcpyOut"
>;

/** errno after a call that went well: POSIX leaves it undefined, so whoever reads it then gets this. */
const NOISE = 9999;
const TASK = 259;
const EVERYTHING = Protection.READ | Protection.WRITE | Protection.EXECUTE;

const PROCESSORS: Readonly<Record<FakeMac["processor"], DarwinProcessor & { readonly pageSize: number }>> = {
  Intel: { needsFlush: false, switchesJitMemory: false, pageSize: 4096 },
  "Apple silicon": { needsFlush: true, switchesJitMemory: true, pageSize: 16384 },
};

export class FakeLibSystem implements LibSystem, FakeSystem {
  readonly calls = new FakeCalls<LibSystemCall>();
  readonly memory: DarwinMemory;
  readonly pageSize: number;
  readonly writableCode: FakeMapping[] = [];
  readonly flushed: (readonly [Address, number])[] = [];
  readonly space = new FakeAddressSpace<FakeMapping>(0x1_0000_0000);
  /** References of the task's port that were taken: they are never given back. */
  taskReferences = 0;
  readonly #machine: FakeMac;
  #errno = NOISE;

  constructor(machine: FakeMac) {
    this.#machine = machine;
    const processor = PROCESSORS[machine.processor];
    this.pageSize = processor.pageSize;
    this.memory = new DarwinMemory({
      libSystem: this,
      ffi: { view: (_address, sizeBytes) => new ArrayBuffer(sizeBytes), detach: () => undefined },
      processor,
    });
  }

  leftovers(): string[] {
    return this.space.describe();
  }

  errno(): number {
    return this.#errno;
  }

  getpagesize(): number {
    return this.pageSize;
  }

  memcpyIn(): void {
    // There are no bytes here.
  }

  memcpyOut(): void {
    // As above.
  }

  mach_task_self(): Port {
    this.taskReferences++;
    return TASK;
  }

  mmap(
    address: Address,
    sizeBytes: number,
    protection: number,
    flags: number,
    descriptor: number,
    offset: number,
  ): Address {
    if (!this.#begin("mmap", address, sizeBytes, protection, flags, descriptor, offset)) return MAP_FAILED;
    if (address !== 0 || descriptor !== -1 || offset !== 0) throw new Error("not anonymous memory anywhere");
    const isJit = (flags & MapFlag.JIT) !== 0;
    if (isJit && this.#machine.mayMapJit === false) return this.#fail(Errno.EPERM);
    if (protection === EVERYTHING && !isJit && (this.#isHardened || this.#isAppleSilicon)) {
      return this.#fail(Errno.EACCES);
    }
    const start = this.space.place(sizeBytes, this.pageSize);
    const object = Symbol("memory");
    this.#add({ start, sizeBytes, protection, maximum: EVERYTHING, isJit, object, origin: start });
    return start;
  }

  munmap(address: Address, sizeBytes: number): number {
    if (!this.#begin("munmap", address, sizeBytes)) return -1;
    this.space.cut(address, sizeBytes, "munmap");
    return 0;
  }

  mprotect(address: Address, sizeBytes: number, protection: number): number {
    if (!this.#begin("mprotect", address, sizeBytes, protection)) return -1;
    const mapping = this.space.at(address);
    if (mapping === undefined) return this.#fail(Errno.ENOMEM);
    if (this.#isForbidden(mapping, protection)) return this.#fail(Errno.EACCES);
    this.#replace(mapping, address, sizeBytes, { protection });
    return 0;
  }

  mach_vm_remap(
    task: Port,
    target: BigUint64Array,
    sizeBytes: number,
    alignmentMask: number,
    flags: number,
    sourceTask: Port,
    source: Address,
    copy: number,
    protection: Int32Array,
    maximumProtection: Int32Array,
    inheritance: number,
  ): number {
    const code = this.calls.begin("mach_vm_remap", target, sizeBytes, flags, source, copy, inheritance);
    if (code !== undefined) return code;
    if (task !== TASK || sourceTask !== TASK) return KernReturn.INVALID_ARGUMENT;
    if (flags !== (RemapFlag.FIXED | RemapFlag.OVERWRITE) || alignmentMask !== 0 || copy !== 0) {
      throw new Error("not the same memory at the place that was reserved");
    }
    if (inheritance !== Inheritance.NONE) throw new Error("children would share code memory");
    const from = this.space.at(source);
    if (from === undefined) return KernReturn.INVALID_ADDRESS;
    if (from.isJit) return KernReturn.PROTECTION_FAILURE;
    const start = Number(target[0]);
    this.space.cut(start, sizeBytes, "mach_vm_remap");
    this.#add({ ...from, start, sizeBytes, origin: from.origin + (start - source) });
    protection[0] = from.protection;
    maximumProtection[0] = from.maximum;
    return KERN_SUCCESS;
  }

  mach_vm_protect(
    task: Port,
    address: Address,
    sizeBytes: number,
    setMaximum: number,
    protection: number,
  ): number {
    const code = this.calls.begin("mach_vm_protect", address, sizeBytes, setMaximum, protection);
    if (code !== undefined) return code;
    if (task !== TASK) return KernReturn.INVALID_ARGUMENT;
    const mapping = this.space.at(address);
    if (mapping === undefined) return KernReturn.INVALID_ADDRESS;
    if (setMaximum === 1) {
      const maximum = mapping.maximum & protection;
      if (maximum !== protection) return KernReturn.PROTECTION_FAILURE;
      this.#replace(mapping, address, sizeBytes, { maximum, protection: mapping.protection & maximum });
      return KERN_SUCCESS;
    }
    if (this.#isForbidden(mapping, protection)) return KernReturn.PROTECTION_FAILURE;
    this.#replace(mapping, address, sizeBytes, { protection });
    return KERN_SUCCESS;
  }

  sys_icache_invalidate(address: Address, sizeBytes: number): void {
    this.flushed.push([address, sizeBytes]);
  }

  // ---- Inside -----------------------------------------------------------------------------------------------------

  get #isHardened(): boolean {
    return this.#machine.hardened === true;
  }

  get #isAppleSilicon(): boolean {
    return this.#machine.processor === "Apple silicon";
  }

  #isForbidden({ maximum }: FakeMapping, protection: number): boolean {
    if ((protection & ~maximum) !== 0) return true;
    if (protection === EVERYTHING) return this.#isHardened || this.#isAppleSilicon;
    return this.#isHardened && (protection & Protection.EXECUTE) !== 0;
  }

  #begin(call: LibSystemCall, ...args: readonly unknown[]): boolean {
    const code = this.calls.begin(call, ...args);
    this.#errno = code ?? NOISE;
    return code === undefined;
  }

  #fail(errno: number): -1 {
    this.#errno = errno;
    return -1;
  }

  #add(mapping: FakeMapping): void {
    this.space.mappings.push(mapping);
    if ((mapping.protection & EVERYTHING) === EVERYTHING) this.writableCode.push(mapping);
  }

  #replace(
    mapping: FakeMapping,
    start: Address,
    sizeBytes: number,
    change: Partial<Pick<FakeMapping, "protection" | "maximum">>,
  ): void {
    this.space.cut(start, sizeBytes, "a change of protection");
    this.#add({ ...mapping, start, sizeBytes, ...change });
  }
}
