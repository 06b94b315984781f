/** Decides where everything goes: which kind of memory each section needs, and its offset there. */
import type { ElfSymbol, Section } from "./elf.ts";
import { Flag, SectionType } from "./elf.ts";
import { LinkError } from "./link-error.ts";
import type { Resolution } from "./resolve.ts";

/** The kinds of memory that an allocator has. */
export const KINDS = ["code", "constants", "data"] as const;
export type Kind = (typeof KINDS)[number];

/** A place in the part of a kind. */
export interface Place {
  readonly kind: Kind;
  readonly offset: number;
}

/** An entry of the global offset table is one: the address of a symbol, for code to load. */
export const POINTER_BYTES = 8;
/** The list of frames ends with a length of zero. */
const FRAMES_END_BYTES = 4;
/** A part begins at a multiple of the allocator's granularity, which is at least this. */
const PART_ALIGNMENT = 64;

/** A part that grows by what is placed at its end. */
class PartLayout {
  readonly kind: Kind;
  #size = 0;
  #alignment = PART_ALIGNMENT;

  constructor(kind: Kind) {
    this.kind = kind;
  }

  /** The largest alignment in it. */
  get alignment(): number {
    return this.#alignment;
  }

  /** Bytes to ask for, so that it can begin at a multiple of its alignment wherever it is put. */
  get bytesWanted(): number {
    return this.#size === 0 ? 0 : this.#size + this.#alignment - PART_ALIGNMENT;
  }

  place(size: number, alignment: number): Place {
    const offset = Math.ceil(this.#size / alignment) * alignment;
    this.#size = offset + size;
    this.#alignment = Math.max(this.#alignment, alignment);
    return { kind: this.kind, offset };
  }
}

/** Symbols of one name have one entry; local ones have no name that tells them apart. */
export function tableKey(symbol: ElfSymbol): string | ElfSymbol {
  return symbol.binding === "local" ? symbol : symbol.name;
}

/** Where everything goes. Offsets count from the aligned start of a part. */
export interface Layout {
  readonly parts: Readonly<Record<Kind, PartLayout>>;
  readonly sections: ReadonlyMap<Section, Place>;
  /** Variables that are in no section: those in common, and copies. */
  readonly variables: ReadonlyMap<string, Place>;
  /** The entries of the global offset table, by {@link tableKey}. */
  readonly table: ReadonlyMap<string | ElfSymbol, Place>;
  /** Where the information for unwinding begins, if there is any. */
  readonly frames: Place | undefined;
}

/**
 * Lays out what is linked: a part for each kind, in which the sections lie one after the other.
 *
 * @param addressed the symbols that code finds through the global offset table
 * @param copied the names of pointers in the C library that get a copy
 * @throws LinkError for a section that is writable and executable, or thread-local
 */
export function layOut(
  resolution: Resolution,
  addressed: Iterable<ElfSymbol> = [],
  copied: readonly string[] = [],
): Layout {
  const parts = {
    code: new PartLayout("code"),
    constants: new PartLayout("constants"),
    data: new PartLayout("data"),
  };
  const sections = new Map<Section, Place>();
  const frameSections = resolution.sections.filter(({ name }) => name === ".eh_frame");
  for (const section of resolution.sections) {
    if (section.name === ".eh_frame") continue;
    sections.set(section, parts[kindOf(section)].place(section.size, section.alignment));
  }
  const variables = new Map<string, Place>();
  for (const [name, { size, alignment }] of resolution.commons) {
    variables.set(name, parts.data.place(size, alignment));
  }
  for (const name of copied) variables.set(name, parts.data.place(POINTER_BYTES, POINTER_BYTES));
  const table = new Map<string | ElfSymbol, Place>();
  for (const symbol of addressed) {
    const key = tableKey(symbol);
    if (!table.has(key)) table.set(key, parts.constants.place(POINTER_BYTES, POINTER_BYTES));
  }
  // One after the other without a gap: zeros between them would end the list.
  let frames: Place | undefined;
  for (const section of frameSections) {
    const place = parts.constants.place(section.size, frames === undefined ? section.alignment : 1);
    frames ??= place;
    sections.set(section, place);
  }
  if (frames !== undefined) parts.constants.place(FRAMES_END_BYTES, 1);
  return { parts, sections, variables, table, frames };
}

function kindOf(section: Section): Kind {
  const { flags, type, name, object, size } = section;
  // Symbols in it only need an address, and there always is code.
  if (size === 0) return "code";
  if ((flags & Flag.threadLocal) !== 0) {
    throw new LinkError(
      `${object}: section ${name} is thread-local: only the C library reserves memory for each thread. ` +
        "Compile it without __thread, or load it as a shared library",
    );
  }
  const isWritable = (flags & Flag.write) !== 0;
  if ((flags & Flag.execute) === 0) {
    // What is written by the linker alone is constant once it is linked.
    const isConstant =
      name.startsWith(".data.rel.ro") || type === SectionType.initArray || type === SectionType.finiArray;
    return isWritable && !isConstant ? "data" : "constants";
  }
  if (!isWritable) return "code";
  throw new LinkError(
    `${object}: section ${name} is writable and executable at once, which no memory here is`,
  );
}
