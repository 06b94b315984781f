/**
 * A Linux machine in JavaScript, behind the interface of libc calls: it keeps account of mappings, descriptors and
 * files, so that a test can ask what was left behind, and it fails where it is told to.
 * What would kill a real process, or corrupt it, throws a plain Error.
 */
import type { Address } from "../../src/ffi/contract.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { O_TMPFILE } from "../../src/vm/linux/ladder.ts";
import type { OpenFile, SystemFiles } from "../../src/vm/linux/files.ts";
import {
  Advice,
  MAP_FAILED,
  MapFlag,
  Memfd,
  Open,
  Protection,
  Resource,
  Seal,
} from "../../src/vm/linux/libc.ts";
import type { LinuxLibc } from "../../src/vm/linux/libc.ts";
import { cutAround, inside, joined } from "./fake-mappings.ts";
import type { FileMapping, MappedFile } from "./fake-mappings.ts";

export const PAGE = 4096;
export const LARGE_PAGE = 2 * 1024 * 1024;

export type LibcCall = Exclude<
  keyof LinuxLibc,
  "errno" | "getpagesize" | "prepare" | "memcpyIn" | "memcpyOut"
>;

/** What the machine is like. */
export interface FakeMachine {
  /** Default true: Linux 6.3 or later. */
  knowsMfdExec?: boolean;
  /** Default true: Linux 5.1 or later. */
  knowsFutureWrite?: boolean;
  /** Default true: Linux 6.10 or later. */
  knowsMseal?: boolean;
  /** vm.memfd_noexec. Default 0. */
  memfdNoexec?: 0 | 1 | 2;
  hasMemfd?: boolean;
  /** Default true: file systems with files that never have a name (O_TMPFILE). */
  hasTmpfile?: boolean;
  /** Places mounted noexec: `/dev/shm`, `/tmp`. */
  noexec?: readonly string[];
  /** Bytes; default unlimited. */
  fileSizeLimit?: number;
  /** hugetlb pages set aside. Default 0. */
  hugetlbPages?: number;
  /** Files that can be read. */
  files?: Readonly<Record<string, string>>;
  /** Files that a permission keeps from this process. */
  hidesFiles?: (path: string) => boolean;
  /** Whether the environment is kept from it. */
  hidesVariables?: boolean;
  /** What /proc/self/fd says. */
  openFiles?: () => readonly OpenFile[];
  /** The native threads that live; the first one calls. Default: one, 100. */
  threads?: readonly number[];
  /** How many protection keys there are to take. Default 0. */
  keys?: number;
  temporaryDirectories?: readonly string[];
}

interface FakeFile extends MappedFile {
  readonly kind: "memfd" | "shm" | "disk";
  readonly place: string;
  readonly hugetlb: boolean;
  sizeBytes: number;
  seals: number;
}

export type FakeMapping = FileMapping<FakeFile>;

/** errno after a call that went well: POSIX leaves it undefined, so whoever reads it then gets this. */
const NOISE = 9999;

const RESIZING = Seal.SHRINK | Seal.GROW;

export class FakeLibc implements LinuxLibc {
  readonly machine: FakeMachine;
  /** The name of every call, in order; getpagesize and errno are not counted. */
  readonly calls: LibcCall[] = [];
  /** Every mapping that was writable and executable, if only for a moment. */
  readonly writableCode: FakeMapping[] = [];
  /** Every madvise: advice, offset from the mapping's start, size. */
  readonly advised: { address: Address; sizeBytes: number; advice: number }[] = [];
  readonly paths = new Map<string, FakeFile>();
  readonly descriptors = new Map<number, FakeFile>();
  /** The descriptors that were opened for reading alone. */
  readonly #readOnly = new Set<number>();
  mappings: FakeMapping[] = [];
  /** Every stretch that was given a protection key. */
  readonly keyed: { address: Address; sizeBytes: number; protection: number; key: number }[] = [];
  #keysTaken = 0;
  /** What `memcpyIn` was given last. */
  copiedIn: Uint8Array | undefined;
  #errno = NOISE;
  #nextDescriptor = 20;
  // In the middle of a large page, so that nothing is aligned by chance, and aligning leaves a rest on both sides.
  #nextAddress = 0x7000_0010_0000;
  #failAtCall: number | undefined;
  #failErrno = 0;
  readonly #refusals: { call: LibcCall; errno: number; when: (args: readonly unknown[]) => boolean }[] = [];

  constructor(machine: FakeMachine = {}) {
    this.machine = machine;
  }

  /** The call with that index (0 = the next one) fails with `errno`, once. */
  failAt(index: number, errno: number): void {
    this.#failAtCall = this.calls.length + index;
    this.#failErrno = errno;
  }

  /** Every call of that name fails, where `when` says so. */
  refuse(call: LibcCall, errno: number, when: (args: readonly unknown[]) => boolean = () => true): void {
    this.#refusals.push({ call, errno, when });
  }

  /** All that a clean process must not have, as text. */
  leftovers(): string[] {
    return [
      ...this.mappings.map(({ start, sizeBytes }) => `mapping ${start.toString(16)} ${sizeBytes}`),
      ...[...this.descriptors.keys()].map((descriptor) => `descriptor ${descriptor}`),
      ...[...this.paths.keys()].map((path) => `file ${path}`),
    ];
  }

  mappingAt(address: Address): FakeMapping | undefined {
    return this.mappings.find(({ start, sizeBytes }) => start <= address && address < start + sizeBytes);
  }

  files(): SystemFiles {
    return {
      read: (path) => (this.machine.hidesFiles?.(path) === true ? undefined : this.machine.files?.[path]),
      refusal: (path) => (this.machine.hidesFiles?.(path) === true ? "--allow-secrets" : undefined),
      temporaryRefusal: () => (this.machine.hidesVariables === true ? "--allow-variables" : undefined),
      openFiles: () => this.machine.openFiles?.() ?? [],
      temporaryDirectories: () => this.machine.temporaryDirectories ?? ["/tmp"],
    };
  }

  errno(): number {
    return this.#errno;
  }

  getpagesize(): number {
    return PAGE;
  }

  mmap(
    address: Address,
    sizeBytes: number,
    protection: number,
    flags: number,
    descriptor: number,
    offset: number,
  ): Address {
    const failed = this.#begin("mmap", [address, sizeBytes, protection, flags, descriptor, offset]);
    if (failed) return MAP_FAILED;
    const file = (flags & MapFlag.ANONYMOUS) !== 0 ? undefined : this.descriptors.get(descriptor);
    if ((flags & MapFlag.ANONYMOUS) === 0) {
      if (file === undefined) return this.#fail(Errno.EBADF);
      // What cannot be accessed may reach over the end: such a mapping only holds the addresses. So may a page of an empty
      // file, which asks whether the file can be executed.
      const isQuestion =
        file.sizeBytes === 0 && sizeBytes === PAGE && protection === (Protection.READ | Protection.EXEC);
      if (protection !== Protection.NONE && !isQuestion && file.sizeBytes < offset + sizeBytes)
        throw new Error("a mapping past the end of its file: SIGBUS later");
      const wantsExecute = (protection & Protection.EXEC) !== 0;
      if (wantsExecute && this.machine.noexec?.includes(file.place)) return this.#fail(Errno.EPERM);
      if ((protection & Protection.WRITE) !== 0 && (file.seals & Seal.FUTURE_WRITE) !== 0) {
        return this.#fail(Errno.EPERM);
      }
    }
    if ((flags & MapFlag.HUGETLB) !== 0) {
      if (sizeBytes % LARGE_PAGE !== 0) throw new Error("hugetlb: not whole large pages");
      if (flags >>> MapFlag.HUGE_SHIFT !== 21) throw new Error("hugetlb: the page size is not said");
      if (!this.#takeHugetlb(sizeBytes)) return this.#fail(Errno.ENOMEM);
    }
    const isAligned = address % (file?.hugetlb === true ? LARGE_PAGE : PAGE) === 0;
    if (!isAligned) return this.#fail(Errno.EINVAL);
    let start = address;
    if ((flags & MapFlag.FIXED) !== 0) {
      if (this.#isSealed(address, sizeBytes)) return this.#fail(Errno.EPERM);
      this.#cut(address, sizeBytes, "MAP_FIXED");
    } else {
      // A hint is followed where nothing is mapped; what no hint led to touches the last one, as in a real system.
      const isFree = this.mappings.every(
        (other) => other.start >= address + sizeBytes || other.start + other.sizeBytes <= address,
      );
      if (address === 0 || !isFree) {
        start = this.#nextAddress;
        this.#nextAddress += sizeBytes;
      }
    }
    const isReadOnly = this.#readOnly.has(descriptor);
    const access = { protection, isReadOnly, isSealed: false };
    const mapping: FakeMapping = { start, sizeBytes, file, flags, offset, ...access };
    this.mappings.push(mapping);
    this.#watch(mapping);
    return start;
  }

  munmap(address: Address, sizeBytes: number): number {
    if (this.#begin("munmap", [address, sizeBytes])) return -1;
    if (this.#isSealed(address, sizeBytes)) return this.#fail(Errno.EPERM);
    this.#cut(address, sizeBytes, "munmap");
    return 0;
  }

  mprotect(address: Address, sizeBytes: number, protection: number): number {
    if (this.#begin("mprotect", [address, sizeBytes, protection])) return -1;
    if (this.#isSealed(address, sizeBytes)) return this.#fail(Errno.EPERM);
    const cut = cutAround(this.mappings, address, sizeBytes);
    const changed = inside(cut, address, sizeBytes);
    if (changed.reduce((sum, mapping) => sum + mapping.sizeBytes, 0) !== sizeBytes)
      return this.#fail(Errno.ENOMEM);
    const isWrite = (protection & Protection.WRITE) !== 0;
    if (isWrite && changed.some(({ isReadOnly }) => isReadOnly)) return this.#fail(Errno.EACCES);
    for (const mapping of changed) {
      mapping.protection = protection;
      this.#watch(mapping);
    }
    this.mappings = joined(cut);
    return 0;
  }

  madvise(address: Address, sizeBytes: number, advice: number): number {
    if (this.#begin("madvise", [address, sizeBytes, advice])) return -1;
    const mapping = this.mappingAt(address);
    if (mapping === undefined) throw new Error("madvise of what is not mapped");
    if (advice === Advice.REMOVE) {
      const isWritable = (mapping.protection & Protection.WRITE) !== 0;
      if (mapping.file === undefined || !isWritable) return this.#fail(Errno.EACCES);
      const first = (address - mapping.start + mapping.offset) / PAGE;
      for (let page = first; page < first + sizeBytes / PAGE; page++) mapping.file.pages.delete(page);
    }
    this.advised.push({ address, sizeBytes, advice });
    return 0;
  }

  mseal(address: Address, sizeBytes: number): number {
    if (this.#begin("mseal", [address, sizeBytes])) return -1;
    if (this.machine.knowsMseal === false) return this.#fail(Errno.ENOSYS);
    const cut = cutAround(this.mappings, address, sizeBytes);
    const sealed = inside(cut, address, sizeBytes);
    if (sealed.reduce((sum, mapping) => sum + mapping.sizeBytes, 0) !== sizeBytes)
      return this.#fail(Errno.ENOMEM);
    for (const mapping of sealed) mapping.isSealed = true;
    this.mappings = joined(cut);
    return 0;
  }

  pkey_alloc(flags: number, rights: number): number {
    if (this.#begin("pkey_alloc", [flags, rights])) return -1;
    if (this.#keysTaken >= (this.machine.keys ?? 0)) return this.#fail(Errno.ENOSPC);
    return ++this.#keysTaken;
  }

  pkey_free(key: number): number {
    if (this.#begin("pkey_free", [key])) return -1;
    this.#keysTaken -= 1;
    return 0;
  }

  pkey_mprotect(address: Address, sizeBytes: number, protection: number, key: number): number {
    if (this.#begin("pkey_mprotect", [address, sizeBytes, protection, key])) return -1;
    this.keyed.push({ address, sizeBytes, protection, key });
    return 0;
  }

  mincore(address: Address, sizeBytes: number, pages: Uint8Array): number {
    if (this.#begin("mincore", [address, sizeBytes])) return -1;
    const mapping = this.mappingAt(address);
    if (mapping === undefined) return this.#fail(Errno.ENOMEM);
    const first = (address - mapping.start + mapping.offset) / PAGE;
    for (let page = 0; page < sizeBytes / PAGE; page++)
      pages[page] = mapping.file?.pages.has(first + page) === true ? 1 : 0;
    return 0;
  }

  /** Gives memory to the page of a file that is mapped at an address, as a write does. */
  touch(address: Address): void {
    const mapping = this.mappingAt(address);
    if (mapping?.file === undefined || (mapping.protection & Protection.WRITE) === 0)
      throw new Error("a write to what is not mapped writable: SIGSEGV");
    mapping.file.pages.add(Math.floor((address - mapping.start + mapping.offset) / PAGE));
  }

  memfd_create(name: string, flags: number): number {
    if (this.#begin("memfd_create", [name, flags])) return -1;
    if (this.machine.hasMemfd === false) return this.#fail(Errno.ENOSYS);
    if ((flags & Memfd.CLOEXEC) === 0) throw new Error("a descriptor that a child process inherits");
    if ((flags & (Memfd.EXEC | Memfd.NOEXEC_SEAL)) !== 0) {
      if (this.machine.knowsMfdExec === false) return this.#fail(Errno.EINVAL);
      if ((flags & Memfd.EXEC) !== 0 && this.machine.memfdNoexec === 2) return this.#fail(Errno.EACCES);
    }
    const hugetlb = (flags & Memfd.HUGETLB) !== 0;
    return this.#openFile({
      kind: "memfd",
      place: "memfd",
      hugetlb,
      sizeBytes: 0,
      seals: 0,
      pages: new Set(),
    });
  }

  shm_open(name: string, flags: number, mode: number): number {
    if (this.#begin("shm_open", [name, flags, mode])) return -1;
    return this.#createNamed(`/dev/shm${name}`, "shm", "/dev/shm");
  }

  shm_unlink(name: string): number {
    if (this.#begin("shm_unlink", [name])) return -1;
    return this.paths.delete(`/dev/shm${name}`) ? 0 : this.#fail(Errno.ENOENT);
  }

  open(path: string, flags: number, mode: number): number {
    if (this.#begin("open", [path, flags, mode])) return -1;
    if (path.startsWith("/proc/self/fd/")) {
      const again = this.descriptors.get(Number(path.slice("/proc/self/fd/".length)));
      if ((flags & Open.RDWR) !== 0) throw new Error("opened again for writing");
      if (again === undefined) return this.#fail(Errno.ENOENT);
      const descriptor = this.#openFile(again);
      this.#readOnly.add(descriptor);
      return descriptor;
    }
    const isNameless = (flags & O_TMPFILE) === O_TMPFILE;
    if (isNameless && this.machine.hasTmpfile === false) return this.#fail(Errno.EOPNOTSUPP);
    const kind = path.startsWith("/dev/shm") ? "shm" : "disk";
    const empty = { hugetlb: false, sizeBytes: 0, seals: 0, pages: new Set<number>() };
    if (isNameless) return this.#openFile({ kind, place: path, ...empty });
    return this.#createNamed(path, kind, path.slice(0, path.lastIndexOf("/")));
  }

  unlink(path: string): number {
    if (this.#begin("unlink", [path])) return -1;
    return this.paths.delete(path) ? 0 : this.#fail(Errno.ENOENT);
  }

  ftruncate(descriptor: number, sizeBytes: number): number {
    if (this.#begin("ftruncate", [descriptor, sizeBytes])) return -1;
    return this.#resize(descriptor, sizeBytes);
  }

  posix_fallocate(descriptor: number, offset: number, sizeBytes: number): number {
    if (this.#begin("posix_fallocate", [descriptor, offset, sizeBytes])) {
      const errno = this.#errno;
      this.#errno = NOISE;
      return errno;
    }
    if (this.descriptors.get(descriptor)?.hugetlb === true && !this.#takeHugetlb(sizeBytes))
      return Errno.ENOSPC;
    this.#resize(descriptor, offset + sizeBytes);
    return 0;
  }

  fcntl(descriptor: number, command: number, argument: number): number {
    if (this.#begin("fcntl", [descriptor, command, argument])) return -1;
    const file = this.descriptors.get(descriptor);
    if (file === undefined) return this.#fail(Errno.EBADF);
    if (command !== Seal.ADD_SEALS || file.kind !== "memfd") return this.#fail(Errno.EINVAL);
    if ((argument & Seal.FUTURE_WRITE) !== 0 && this.machine.knowsFutureWrite === false) {
      return this.#fail(Errno.EINVAL);
    }
    if ((file.seals & Seal.SEAL) !== 0) return this.#fail(Errno.EPERM);
    file.seals |= argument;
    return 0;
  }

  close(descriptor: number): number {
    const failed = this.#begin("close", [descriptor]);
    // Linux frees the descriptor before it finds out what else goes wrong.
    if (!this.descriptors.delete(descriptor))
      throw new Error(`descriptor ${descriptor} is not open: a double close`);
    return failed ? -1 : 0;
  }

  prepare(): void {
    // Nothing has to be looked up.
  }

  memcpyIn(address: Address, bytes: Uint8Array, sizeBytes: number): void {
    this.#checkMapped(address, sizeBytes);
    this.copiedIn = bytes.slice(0, sizeBytes);
  }

  memcpyOut(_bytes: Uint8Array, address: Address, sizeBytes: number): void {
    this.#checkMapped(address, sizeBytes);
  }

  #checkMapped(address: Address, sizeBytes: number): void {
    const mapping = this.mappingAt(address);
    if (mapping === undefined || address + sizeBytes > mapping.start + mapping.sizeBytes) {
      throw new Error("memcpy of what is not mapped: SIGSEGV");
    }
  }

  gettid(): number {
    if (this.#begin("gettid", [])) return -1;
    return this.machine.threads?.[0] ?? 100;
  }

  tgkill(process: number, thread: number, signal: number): number {
    if (this.#begin("tgkill", [process, thread, signal])) return -1;
    return (this.machine.threads ?? [100]).includes(thread) ? 0 : this.#fail(Errno.ESRCH);
  }

  getrlimit(resource: number, result: BigUint64Array): number {
    if (this.#begin("getrlimit", [resource])) return -1;
    const isBounded = resource === Resource.FSIZE && this.machine.fileSizeLimit !== undefined;
    result.fill(isBounded ? BigInt(this.machine.fileSizeLimit ?? 0) : 2n ** 64n - 1n);
    return 0;
  }

  // ---- Inside -----------------------------------------------------------------------------------------------------

  #begin(call: LibcCall, args: readonly unknown[]): boolean {
    const index = this.calls.push(call) - 1;
    this.#errno = NOISE;
    if (index === this.#failAtCall) {
      this.#failAtCall = undefined;
      this.#errno = this.#failErrno;
      return true;
    }
    const refusal = this.#refusals.find((entry) => entry.call === call && entry.when(args));
    if (refusal !== undefined) this.#errno = refusal.errno;
    return refusal !== undefined;
  }

  #fail(errno: number): -1 {
    this.#errno = errno;
    return -1;
  }

  #takeHugetlb(sizeBytes: number): boolean {
    const wanted = sizeBytes / LARGE_PAGE;
    const left = this.machine.hugetlbPages ?? 0;
    if (wanted > left) return false;
    this.machine.hugetlbPages = left - wanted;
    return true;
  }

  #openFile(file: FakeFile): number {
    const descriptor = this.#nextDescriptor++;
    this.descriptors.set(descriptor, file);
    return descriptor;
  }

  #createNamed(path: string, kind: "shm" | "disk", place: string): number {
    if (this.paths.has(path)) return this.#fail(Errno.EEXIST);
    const file: FakeFile = { kind, place, hugetlb: false, sizeBytes: 0, seals: 0, pages: new Set() };
    this.paths.set(path, file);
    return this.#openFile(file);
  }

  #resize(descriptor: number, sizeBytes: number): number {
    const file = this.descriptors.get(descriptor);
    if (file === undefined) return this.#fail(Errno.EBADF);
    if (sizeBytes > (this.machine.fileSizeLimit ?? Number.POSITIVE_INFINITY)) {
      throw new Error("SIGXFSZ: the process is dead");
    }
    if ((file.seals & RESIZING) !== 0) return this.#fail(Errno.EPERM);
    file.sizeBytes = sizeBytes;
    return 0;
  }

  #isSealed(address: Address, sizeBytes: number): boolean {
    return this.mappings.some(
      ({ start, sizeBytes: size, isSealed }) =>
        isSealed && start < address + sizeBytes && address < start + size,
    );
  }

  #watch(mapping: FakeMapping): void {
    const both = Protection.WRITE | Protection.EXEC;
    if ((mapping.protection & both) === both) this.writableCode.push(mapping);
  }

  /** Unmaps a range; all of it must be mapped, because what is not ours may be somebody else's. */
  #cut(address: Address, sizeBytes: number, what: string): void {
    const end = address + sizeBytes;
    let covered = 0;
    const kept: FakeMapping[] = [];
    for (const mapping of this.mappings) {
      const mappingEnd = mapping.start + mapping.sizeBytes;
      const from = Math.max(address, mapping.start);
      const to = Math.min(end, mappingEnd);
      if (from >= to) {
        kept.push(mapping);
        continue;
      }
      covered += to - from;
      if (mapping.start < from) kept.push({ ...mapping, sizeBytes: from - mapping.start });
      const tail = { start: to, sizeBytes: mappingEnd - to, offset: mapping.offset + to - mapping.start };
      if (to < mappingEnd) kept.push({ ...mapping, ...tail });
    }
    if (covered !== sizeBytes) throw new Error(`${what} hits ${sizeBytes - covered} bytes that are not ours`);
    this.mappings = kept;
  }
}
