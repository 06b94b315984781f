/**
 * Memory protection keys (x86-64): the writable view of a range is closed to every thread, but inside of one routine.
 *
 * Each page has the number of a key, 0 to 15, and each thread a register, PKRU, with two bits a key: no access, no writes. The
 * instruction that sets the register (`wrpkru`) is no system call. So a routine opens the view for its own thread, copies, and
 * restores what the register was: some 40 ns, where two `mprotect` take 5 µs and open the view to all threads.
 *
 * ```text
 * pkey_alloc                    a key of the process; closed for the thread that asks
 * pkey_mprotect(rw, no access)  the whole writable view has the key, from before it has any memory
 * mprotect(part of rw)          leaves the key as it is (arch_override_mprotect_pkey of the kernel)
 * ```
 *
 * Other threads have no access to a key that they know nothing of: that is what they begin with (init_pkru_value of the kernel),
 * or they inherit it from the thread that started them. The routine opens all keys, since it runs nothing but a copy whose bounds
 * the library has checked: so each thread of a shared allocator can use it, whoever took the key.
 */
import { JitError } from "../../base/errors.ts";
import { platform } from "../../base/platform.ts";
import type { ProcessorName } from "../../base/platform.ts";
import type { Address, Ffi, NativeFunction, NativeSignature } from "../../ffi/contract.ts";
import { refusedCall } from "../../ffi/guard.ts";
import type { AddressRange } from "../range/contract.ts";
import { Errno, errnoName, systemError } from "./errno.ts";
import type { SystemFiles } from "./files.ts";
import { Protection } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";
import { makeRoutinePage } from "./routine-page.ts";

/** `PKEY_DISABLE_ACCESS | PKEY_DISABLE_WRITE`. */
const NO_ACCESS = 3;

/** rdpkru into r9d, and then wrpkru of 0. Both want ecx = 0, wrpkru edx = 0 too, which rdpkru makes it. */
const OPEN = [
  ...[0x31, 0xc9], //             xor ecx, ecx
  ...[0x0f, 0x01, 0xee], //       rdpkru
  ...[0x41, 0x89, 0xc1], //       mov r9d, eax
  ...[0x31, 0xc0], //             xor eax, eax
  ...[0x0f, 0x01, 0xef], //       wrpkru
];

const CLOSE = [
  ...[0x31, 0xc9], //             xor ecx, ecx
  ...[0x31, 0xd2], //             xor edx, edx
  ...[0x44, 0x89, 0xc8], //       mov eax, r9d
  ...[0x0f, 0x01, 0xef], //       wrpkru
  ...[0xc3], //                   ret
];

/** rdi = where, rsi = from where, rdx = how many bytes. */
export const COPY_ROUTINE = Uint8Array.of(
  ...[0x49, 0x89, 0xd0], //       mov r8, rdx
  ...OPEN,
  ...[0x4c, 0x89, 0xc1], //       mov rcx, r8
  ...[0xf3, 0xa4], //             rep movsb
  ...CLOSE,
);

/** rdi = where, rsi = the bytes, edx = how many: 1, 2, 4 or 8, in one access (see ../atomic-stores.ts). */
export const STORE_ROUTINE = Uint8Array.of(
  ...[0x41, 0x89, 0xd0], //       mov r8d, edx
  ...OPEN,
  ...[0x41, 0x83, 0xf8, 0x04], // cmp r8d, 4
  ...[0x74, 0x17], //             je four
  ...[0x77, 0x1b], //             ja eight
  ...[0x41, 0x83, 0xf8, 0x02], // cmp r8d, 2
  ...[0x74, 0x07], //             je two
  ...[0x0f, 0xb6, 0x06], //       movzx eax, byte [rsi]
  ...[0x88, 0x07], //             mov [rdi], al
  ...[0xeb, 0x14], //             jmp end
  ...[0x0f, 0xb7, 0x06], // two:  movzx eax, word [rsi]
  ...[0x66, 0x89, 0x07], //       mov [rdi], ax
  ...[0xeb, 0x0c], //             jmp end
  ...[0x8b, 0x06], //       four: mov eax, [rsi]
  ...[0x89, 0x07], //             mov [rdi], eax
  ...[0xeb, 0x06], //             jmp end
  ...[0x48, 0x8b, 0x06], // eight: mov rax, [rsi]
  ...[0x48, 0x89, 0x07], //       mov [rdi], rax
  ...CLOSE, //               end:
);

const COPY_IN: NativeSignature = { parameters: ["pointer", "buffer", "pointer"], result: "void" };
const COPY_OUT: NativeSignature = { parameters: ["buffer", "pointer", "pointer"], result: "void" };
const STORE: NativeSignature = { parameters: ["pointer", "buffer", "u32"], result: "void" };

/** Calls of the two routines. */
interface Routines {
  readonly copyIn: NativeFunction;
  readonly copyOut: NativeFunction;
  readonly store: NativeFunction;
}

/** What keys are made with. */
export interface WriteKeyParts {
  readonly libc: LinuxLibc;
  readonly files: SystemFiles;
  readonly ffi: Pick<Ffi, "callable">;
  readonly processor?: ProcessorName;
  /** The code of the routines. Tests on machines without keys pass some that leave the register alone. */
  readonly routines?: { readonly copy: Uint8Array; readonly store: Uint8Array };
}

/** The protection keys of one thread: one key, taken with the first range that needs it, and the routines. */
export class WriteKeys {
  readonly #libc: LinuxLibc;
  readonly #files: SystemFiles;
  readonly #ffi: Pick<Ffi, "callable">;
  readonly #processor: ProcessorName;
  readonly #codes: { readonly copy: Uint8Array; readonly store: Uint8Array };
  /** The bytes of a store: not the caller's array, which may be another thread's too. */
  readonly #stored = new Uint8Array(new ArrayBuffer(8));
  /** 0 = none yet; a process never gets key 0, which all other memory has. */
  #key = 0;
  #routines: Routines | undefined;

  constructor(parts: WriteKeyParts) {
    this.#libc = parts.libc;
    this.#files = parts.files;
    this.#ffi = parts.ffi;
    this.#processor = parts.processor ?? platform.processor;
    this.#codes = parts.routines ?? { copy: COPY_ROUTINE, store: STORE_ROUTINE };
  }

  /** Why this machine has no keys; undefined where it has. Whether one is left, nobody asks. */
  lack(): string | undefined {
    if (this.#processor !== "x64") return "protection keys are x86-64's, and this is another processor";
    const cpuInfo = this.#files.read("/proc/cpuinfo");
    if (cpuInfo !== undefined && !/^flags\b.*\bospke\b/m.test(cpuInfo)) {
      const lacksKernel = /^flags\b.*\bpku\b/m.test(cpuInfo);
      return lacksKernel
        ? "the processor has protection keys, and the kernel does not use them (pku without ospke in /proc/cpuinfo)"
        : "the processor, or the virtual machine, has no protection keys (no pku in /proc/cpuinfo)";
    }
    return undefined;
  }

  /** Why this thread can close no range; undefined where it can. Takes a key, and gives it back, unless the thread has one. */
  refusal(): string | undefined {
    const lack = this.lack();
    if (lack !== undefined || this.#key !== 0) return lack;
    const key = this.#libc.pkey_alloc(0, NO_ACCESS);
    if (key < 0) return `pkey_alloc: ${errnoName(this.#libc.errno())}: ${KEYS_NEED}`;
    this.#libc.pkey_free(key);
    return undefined;
  }

  /**
   * Closes the writable view of a range that nothing is committed in.
   * @throws JitError the system's refusal
   */
  close({ rw, sizeBytes }: AddressRange): void {
    const asked = `close the writable view of ${sizeBytes} bytes`;
    if (this.#key === 0) {
      const key = this.#libc.pkey_alloc(0, NO_ACCESS);
      if (key < 0) {
        const errno = this.#libc.errno();
        throw errno === Errno.ENOSPC
          ? new JitError("ERR_FEATURE_NOT_ENABLED", `Cannot ${asked}: pkey_alloc: ENOSPC: ${KEYS_NEED}`, {
              syscall: "pkey_alloc",
              errno,
            })
          : systemError(asked, "pkey_alloc", errno, KEYS_NEED);
      }
      this.#key = key;
    }
    if (this.#libc.pkey_mprotect(rw, sizeBytes, Protection.NONE, this.#key) !== 0)
      throw systemError(asked, "pkey_mprotect", this.#libc.errno());
  }

  copyIn(address: Address, bytes: Uint8Array, length: number): void {
    const { copyIn } = this.#made();
    called(() => copyIn(address, bytes, length));
  }

  copyOut(address: Address, copy: Uint8Array): void {
    const { copyOut } = this.#made();
    called(() => copyOut(copy, address, copy.length));
  }

  /** Stores 1, 2, 4 or 8 bytes at a multiple of their number, in one access. */
  store(address: Address, bytes: Uint8Array): void {
    const { store } = this.#made();
    this.#stored.set(bytes);
    called(() => store(address, this.#stored, bytes.length));
  }

  /** Makes the routines, in a page that stays until the process ends. */
  #made(): Routines {
    if (this.#routines !== undefined) return this.#routines;
    const { copy, store } = this.#codes;
    const code = new Uint8Array(STORE_AT + store.length);
    code.set(copy);
    code.set(store, STORE_AT);
    const page = makeRoutinePage(this.#libc, code, (syscall, errno) =>
      systemError("make the routine that writes", syscall, errno),
    );
    return (this.#routines = {
      copyIn: this.#ffi.callable(page, COPY_IN).call,
      copyOut: this.#ffi.callable(page, COPY_OUT).call,
      store: this.#ffi.callable(page + STORE_AT, STORE).call,
    });
  }
}

/** Bytes from the start of the page to the routine that stores. */
const STORE_AT = 64;

const KEYS_NEED =
  "a process has 15 protection keys, each thread that makes such an allocator takes one for good, and a seccomp filter, if " +
  "there is one, must pass pkey_alloc and pkey_mprotect (system calls 330 and 329)";

function called(call: () => unknown): void {
  try {
    call();
  } catch (error) {
    throw refusedCall(error);
  }
}
