/** Decides which members of an archive are linked, and where each name is defined. */
import type { ElfSymbol, ObjectFile, Section } from "./elf.ts";
import { Flag, SectionType, SymbolType } from "./elf.ts";
import { LinkError } from "./link-error.ts";

/** A variable that several objects declare without a value, as C allowed until 2020: one place for all of them. */
export interface Common {
  readonly size: number;
  readonly alignment: number;
}

/** What is linked. */
export interface Resolution {
  /** In the order of the archive. */
  readonly objects: readonly ObjectFile[];
  /** The sections that will be in memory, object by object. */
  readonly sections: readonly Section[];
  /** Where the names are defined that are seen outside of their object. */
  readonly definitions: ReadonlyMap<string, ElfSymbol>;
  readonly commons: ReadonlyMap<string, Common>;
}

/**
 * Takes all objects, or those that define the entries and what they need in turn, as `ld` takes members of an archive.
 *
 * @param file the name for messages
 * @param entries names that must be defined; without, all objects are taken
 * @throws LinkError where an entry is not defined, or a name twice
 */
export function resolve(
  file: string,
  objects: readonly ObjectFile[],
  entries: readonly string[] | undefined,
): Resolution {
  const taken = entries === undefined ? objects : pull(file, objects, entries);
  const discarded = discardedSections(taken);
  const definitions = new Map<string, ElfSymbol>();
  const definedIn = new Map<string, string>();
  const commons = new Map<string, Common>();
  for (const object of taken) {
    for (const symbol of object.symbols) {
      const { name, place } = symbol;
      if (symbol.binding === "local" || place === "undefined") continue;
      if (place === "common") {
        commons.set(name, widest(commons.get(name), { size: symbol.size, alignment: symbol.value }));
        continue;
      }
      if (typeof place === "object" && discarded.has(place)) continue;
      const other = definitions.get(name);
      if (other?.binding === "global" && symbol.binding === "global") {
        throw new LinkError(
          `${name} is defined twice: in ${definedIn.get(name) ?? ""} and in ${object.name}`,
        );
      }
      if (other !== undefined && symbol.binding === "weak") continue;
      definitions.set(name, symbol);
      definedIn.set(name, object.name);
    }
  }
  for (const name of definitions.keys()) commons.delete(name);
  const sections = taken.flatMap((object) =>
    object.sections.filter((section) => isInMemory(section) && !discarded.has(section)),
  );
  return { objects: taken, sections, definitions, commons };
}

/** The objects that the entries lead to, in the order of the archive. */
function pull(
  file: string,
  objects: readonly ObjectFile[],
  entries: readonly string[],
): readonly ObjectFile[] {
  const definers = new Map<string, ObjectFile>();
  for (const object of objects) {
    for (const { name, binding, place } of object.symbols) {
      if (binding !== "local" && place !== "undefined" && !definers.has(name)) definers.set(name, object);
    }
  }
  const taken = new Set<ObjectFile>();
  const names = [...entries];
  for (const name of entries) {
    if (!definers.has(name)) throw new LinkError(`${file} does not define ${name}`);
  }
  for (let name = names.pop(); name !== undefined; name = names.pop()) {
    const object = definers.get(name);
    if (object === undefined || taken.has(object)) continue;
    taken.add(object);
    for (const symbol of object.symbols) {
      // A weak reference takes what is there; it does not fetch.
      if (symbol.place === "undefined" && symbol.binding === "global") names.push(symbol.name);
    }
  }
  return objects.filter((object) => taken.has(object));
}

/** Inline functions of a header are in every object that uses them, in a group: the first group of a name is kept. */
function discardedSections(objects: readonly ObjectFile[]): ReadonlySet<Section> {
  const owners = new Map<string, ObjectFile>();
  const discarded = new Set<Section>();
  for (const object of objects) {
    for (const section of object.sections) {
      if (section.group === undefined) continue;
      const owner = owners.get(section.group) ?? object;
      owners.set(section.group, owner);
      if (owner !== object) discarded.add(section);
    }
  }
  return discarded;
}

function widest(one: Common | undefined, other: Common): Common {
  if (one === undefined) return other;
  return { size: Math.max(one.size, other.size), alignment: Math.max(one.alignment, other.alignment) };
}

/** Notes are for tools that read the file. */
function isInMemory({ flags, type }: Section): boolean {
  return (flags & Flag.allocate) !== 0 && type !== SectionType.note;
}

/** The place in an object for a message: `libz.a(deflate.o), .text+0x1c in deflateInit_`. */
export function describePlace(object: ObjectFile, section: Section, offset: number): string {
  const within = object.symbols.find(
    ({ place, type, value, size }) =>
      place === section && type === SymbolType.function && offset >= value && offset < value + size,
  );
  const suffix = within === undefined ? "" : ` in ${within.name}`;
  return `${object.name}, ${section.name}+0x${offset.toString(16)}${suffix}`;
}
