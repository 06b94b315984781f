/** Looks at every relocation before anything is allocated: what is missing, and what code loads from the table. */
import type { Address } from "jit-allocator";
import type { ElfSymbol, ObjectFile, Relocation, Section } from "./elf.ts";
import { SymbolType } from "./elf.ts";
import { C_LIBRARIES, COPIED, findExternal } from "./externals.ts";
import { LinkError } from "./link-error.ts";
import type { RelocationType } from "./relocations.ts";
import { NO_RELOCATION, relocationType, whyNot } from "./relocations.ts";
import { describePlace, type Resolution } from "./resolve.ts";

/** How an archive is linked. */
export interface LinkOptions {
  /** Names that must be defined: only the members that they need are linked. Without, all are. */
  readonly entries?: readonly string[];
  /** Addresses of names that the archive does not define, such as callbacks. They come before the libraries. */
  readonly symbols?: ReadonlyMap<string, Address>;
  /** Shared libraries that define the rest; default the C library and its mathematics. */
  readonly libraries?: readonly string[];
}

/** What the relocations need. */
export interface Needs {
  /** The addresses of what the archive does not define. A weak reference to what is nowhere is not among them. */
  readonly externals: ReadonlyMap<string, Address>;
  /** The variables among them that get a copy, each a pointer. */
  readonly copied: readonly string[];
  /** The symbols whose addresses code loads from the global offset table. */
  readonly addressed: ReadonlySet<ElfSymbol>;
}

/** Calls back for each relocation that is linked. */
type Visit = (relocation: Relocation, type: RelocationType, section: Section, object: ObjectFile) => void;

/**
 * Finds what the relocations need.
 * @throws LinkError for a relocation that cannot be done; for all symbols at once that are nowhere
 */
export function survey(
  file: string,
  resolution: Resolution,
  { symbols = new Map(), libraries = C_LIBRARIES }: LinkOptions,
): Needs {
  const { definitions, commons } = resolution;
  const externals = new Map<string, Address>();
  const addressed = new Set<ElfSymbol>();
  const missing = new Map<string, string>();
  forEachRelocation(resolution, ({ symbol, offset }, type, section, object) => {
    const { name } = symbol;
    if (type.formula === "table") addressed.add(symbol);
    const definition = symbol.binding === "local" ? symbol : definitions.get(name);
    if (definition?.type === SymbolType.indirectFunction) {
      const place = describePlace(object, section, offset);
      throw new LinkError(
        `${place}: ${name} is chosen when it is loaded (IFUNC), which this linker does not do`,
      );
    }
    if (definition !== undefined || commons.has(name) || externals.has(name) || missing.has(name)) return;
    const address = symbols.get(name) ?? findExternal(name, libraries);
    if (address !== undefined) externals.set(name, address);
    // A weak reference asks whether something is there.
    else if (symbol.binding !== "weak") missing.set(name, describePlace(object, section, offset));
  });
  if (missing.size > 0) {
    const list = [...missing].map(([name, place]) => `\n  ${name}, which ${place} needs`).join("");
    throw new LinkError(`${file} needs what is not defined in ${["it", ...libraries].join(", ")}:${list}`);
  }
  const copied = [...externals.keys()].filter((name) => COPIED.has(name) && !symbols.has(name));
  return { externals, copied, addressed };
}

/** Visits the relocations of what is linked. @throws LinkError for one of a type that cannot be done */
export function forEachRelocation({ objects, sections }: Resolution, visit: Visit): void {
  const linked = new Set(sections);
  for (const object of objects) {
    for (const section of object.sections) {
      if (!linked.has(section)) continue;
      for (const relocation of section.relocations) {
        if (relocation.type === NO_RELOCATION) continue;
        const type = relocationType(relocation.type);
        if (type === undefined) {
          const place = describePlace(object, section, relocation.offset);
          throw new LinkError(`${place}, for ${relocation.symbol.name}: ${whyNot(relocation.type)}`);
        }
        visit(relocation, type, section, object);
      }
    }
  }
}
