/**
 * Tells a debugger of code as it comes and goes, by GDB's JIT compilation interface (LLDB knows it too). Object files hang
 * in a list from a descriptor that has a well-known name, and each change of the list is followed by a call of a function
 * on which the debugger has a breakpoint. A debugger that comes later reads the list.
 *
 * ```text
 * __jit_debug_descriptor ─ first ─→ entry ─ next ─→ entry ─ next ─→ 0
 *                                   object file     object file
 * ```
 *
 * Each thread has a descriptor, a list and a library of its own, and so needs no lock: GDB 11 and later look for the two
 * names in every library. The memory is never given back, because a debugger may read it after its thread has ended.
 */
import { JitError } from "../base/errors.ts";
import type { ProcessorName } from "../base/platform.ts";
import type { Address, Ffi, NativeFunction } from "../ffi/contract.ts";
import { MemoryFiles } from "../ffi/memory-file.ts";
import type { VirtualMemory } from "../vm/contract.ts";
import { ByteWriter } from "./byte-writer.ts";
import { appendElfObject, type KnownCode } from "./elf-object.ts";
import { DESCRIPTOR_FUNCTION, gdbLibrary, REGISTER_FUNCTION } from "./gdb-library.ts";
import { NativeSlots, type Slot } from "./native-slots.ts";

/** `struct jit_code_entry`: next, previous, the object file's address and its size. */
const ENTRY_BYTES = 32;
const NEXT_OFFSET = 0;
const PREVIOUS_OFFSET = 8;

const Action = { register: 1, unregister: 2 } as const;

/** An entry of the list. */
export interface GdbEntry {
  readonly slot: Slot;
  next: GdbEntry | undefined;
  previous: GdbEntry | undefined;
}

/** The debugger's interface in this thread. */
export class GdbInterface {
  readonly #slots: NativeSlots;
  readonly #changed: NativeFunction;
  readonly #descriptor: Address;
  readonly #out = new ByteWriter();
  #first: GdbEntry | undefined;

  /** @throws JitError `ERR_FEATURE_NOT_ENABLED` where the library cannot be made or loaded */
  constructor(ffi: Ffi, memory: VirtualMemory, processor: ProcessorName) {
    const library = gdbLibrary(processor);
    if (library === undefined) throw refused("this processor is not known");
    const path = new MemoryFiles(ffi).keep("jit-allocator-gdb", library);
    if (path === undefined) throw refused("the system makes no file in memory (memfd_create)");
    // Where the policy lets no file in memory be executed (vm.memfd_noexec), loading fails, and says so.
    const loaded = ffi.open([path]);
    const changed = loaded.find(REGISTER_FUNCTION, { parameters: [], result: "void" });
    const descriptor = loaded.find(DESCRIPTOR_FUNCTION, { parameters: [], result: "pointer" });
    if (changed === undefined || descriptor === undefined) throw refused("its library lacks its functions");
    this.#changed = changed;
    this.#descriptor = Number(descriptor());
    this.#slots = new NativeSlots(memory);
  }

  /** Announces code. @throws JitError `ERR_OUT_OF_MEMORY`; nothing is announced then */
  add(code: KnownCode): GdbEntry {
    const out = this.#out;
    out.clear();
    for (let at = 0; at < ENTRY_BYTES; at += 8) out.u64(0);
    appendElfObject(out, code);
    const end = out.at;
    const slot = this.#slots.take(end);
    const next = this.#first;
    const entry: GdbEntry = { slot, next, previous: undefined };
    out.at = NEXT_OFFSET;
    out.u64(next?.slot.address ?? 0);
    out.u64(0);
    out.u64(slot.address + ENTRY_BYTES);
    out.u64(end - ENTRY_BYTES);
    out.at = end;
    this.#slots.write(slot.address, out.bytes);
    if (next !== undefined) {
      next.previous = entry;
      this.#link(next.slot, PREVIOUS_OFFSET, entry);
    }
    this.#first = entry;
    this.#tell(Action.register, entry);
    return entry;
  }

  /** Takes back an announcement. */
  remove(entry: GdbEntry): void {
    const { next, previous } = entry;
    if (next !== undefined) {
      next.previous = previous;
      this.#link(next.slot, PREVIOUS_OFFSET, previous);
    }
    if (previous === undefined) {
      this.#first = next;
    } else {
      previous.next = next;
      this.#link(previous.slot, NEXT_OFFSET, next);
    }
    this.#tell(Action.unregister, entry);
    this.#slots.give(entry.slot);
  }

  #link(slot: Slot, offset: number, to: GdbEntry | undefined): void {
    const out = this.#out;
    out.clear();
    out.u64(to?.slot.address ?? 0);
    this.#slots.write(slot.address + offset, out.bytes);
  }

  #tell(action: number, entry: GdbEntry): void {
    const out = this.#out;
    out.clear();
    out.u32(1); // the version
    out.u32(action);
    out.u64(entry.slot.address);
    out.u64(this.#first?.slot.address ?? 0);
    this.#slots.write(this.#descriptor, out.bytes);
    this.#changed();
  }
}

function refused(reason: string): JitError {
  return new JitError("ERR_FEATURE_NOT_ENABLED", `Cannot announce code to a debugger: ${reason}`);
}
