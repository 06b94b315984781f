/**
 * Links an archive into memory: finds what it needs, lays it out, applies its relocations and publishes it as one module.
 * Whatever is wrong is found before anything can run, and leaves nothing.
 */
import type { Address, JitAllocator, JitModule, ModuleBuilder } from "jit-allocator";
import { VirtMem } from "jit-allocator";
import { readMembers } from "./archive.ts";
import type { ElfSymbol, ObjectFile, Relocation, Section } from "./elf.ts";
import { Flag, readObject, SectionType } from "./elf.ts";
import { KINDS, layOut, POINTER_BYTES, tableKey, type Kind, type Layout, type Place } from "./layout.ts";
import { hex, LinkError } from "./link-error.ts";
import type { RelocationType } from "./relocations.ts";
import { fits, isBranch, store } from "./relocations.ts";
import { describePlace, resolve, type Resolution } from "./resolve.ts";
import { forEachRelocation, survey, type LinkOptions } from "./survey.ts";

/** A linked archive. Nothing of it has run. */
export interface Linked {
  readonly module: JitModule;
  /** What other programs may use: address by name. */
  readonly symbols: ReadonlyMap<string, Address>;
  /** The names of the members that were taken. */
  readonly members: readonly string[];
  /** Bytes that the sections take of each kind. */
  readonly bytes: Readonly<Record<Kind, number>>;
  readonly relocationCount: number;
  readonly veneerCount: number;
  readonly tableEntryCount: number;
  /** Functions to call before anything else, and at the end, in their order. */
  readonly constructors: readonly Address[];
  readonly destructors: readonly Address[];
  /** Where the information for unwinding is, if there is any. */
  readonly frames: Address | undefined;
}

/**
 * Reads and links an archive or an object file.
 *
 * @param file its name, for messages
 * @throws LinkError where it is damaged, needs what is not there, or cannot be placed; `JitError` as the allocator
 */
export function link(
  allocator: JitAllocator,
  file: string,
  bytes: Uint8Array,
  options: LinkOptions = {},
): Linked {
  const objects = readMembers(file, bytes).map((member) => readObject(member.name, member.bytes));
  const resolution = resolve(file, objects, options.entries);
  const { externals, addressed, copied } = survey(file, resolution, options);
  const layout = layOut(resolution, addressed, copied);
  if (layout.parts.code.bytesWanted === 0) throw new LinkError(`${file} has no code`);
  using builder = allocator.module();
  const image = new Image(builder, file, resolution, layout, externals);
  return image.link();
}

/** The bytes of a part while it is linked, and the address where it will be. */
interface Part {
  readonly start: Address;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** The archive in its parts. */
class Image {
  readonly #builder: ModuleBuilder;
  readonly #file: string;
  readonly #resolution: Resolution;
  readonly #layout: Layout;
  readonly #externals: ReadonlyMap<string, Address>;
  readonly #parts: ReadonlyMap<Kind, Part>;
  /** Stubs by what they jump to. */
  readonly #veneers = new Map<Address, Address>();
  #relocationCount = 0;

  constructor(
    builder: ModuleBuilder,
    file: string,
    resolution: Resolution,
    layout: Layout,
    externals: ReadonlyMap<string, Address>,
  ) {
    this.#builder = builder;
    this.#file = file;
    this.#resolution = resolution;
    this.#layout = layout;
    this.#externals = externals;
    this.#parts = new Map(KINDS.flatMap((kind) => this.#allocate(kind)));
  }

  link(): Linked {
    const { sections, objects, definitions } = this.#resolution;
    for (const section of sections) {
      const { part, offset } = this.#placeOf(section);
      part.bytes.set(section.bytes, offset);
    }
    for (const [name, { kind, offset }] of this.#layout.variables) {
      const original = this.#externals.get(name);
      if (original !== undefined) this.#partOf(kind).bytes.set(VirtMem.read(original, POINTER_BYTES), offset);
    }
    this.#fillTable();
    forEachRelocation(this.#resolution, (relocation, type, section, object) =>
      this.#apply(relocation, type, section, object),
    );
    const constructors = this.#functionsIn(SectionType.initArray);
    const destructors = this.#functionsIn(SectionType.finiArray).reverse();
    const symbols = new Map<string, Address>();
    for (const [name, symbol] of definitions)
      if (!symbol.isHidden) symbols.set(name, this.#addressOf(symbol));
    for (const name of this.#resolution.commons.keys()) symbols.set(name, this.#variableAt(name) ?? 0);
    const { frames, parts, table } = this.#layout;
    return {
      module: this.#builder.commit(),
      symbols,
      members: objects.map(({ name }) => name),
      bytes: {
        code: parts.code.bytesWanted,
        constants: parts.constants.bytesWanted,
        data: parts.data.bytesWanted,
      },
      relocationCount: this.#relocationCount,
      veneerCount: this.#veneers.size,
      tableEntryCount: table.size,
      constructors,
      destructors,
      frames: frames === undefined ? undefined : this.#at(frames),
    };
  }

  #allocate(kind: Kind): readonly (readonly [Kind, Part])[] {
    const { bytesWanted, alignment } = this.#layout.parts[kind];
    if (bytesWanted === 0) return [];
    const { rx, bytes } = this.#builder[kind](bytesWanted, { name: `${this.#file} ${kind}` });
    const start = Math.ceil(rx / alignment) * alignment;
    const aligned = bytes.subarray(start - rx);
    const view = new DataView(aligned.buffer, aligned.byteOffset, aligned.byteLength);
    return [[kind, { start, bytes: aligned, view }]];
  }

  #fillTable(): void {
    for (const { place, symbol } of this.#tableEntries()) {
      this.#partOf(place.kind).view.setBigUint64(place.offset, BigInt(this.#addressOf(symbol)), true);
    }
  }

  *#tableEntries(): Iterable<{ place: Place; symbol: ElfSymbol }> {
    const filled = new Set<string | ElfSymbol>();
    for (const { symbols } of this.#resolution.objects) {
      for (const symbol of symbols) {
        const key = tableKey(symbol);
        const place = this.#layout.table.get(key);
        if (place === undefined || filled.has(key)) continue;
        filled.add(key);
        yield { place, symbol };
      }
    }
  }

  #apply(
    { symbol, offset, addend }: Relocation,
    type: RelocationType,
    section: Section,
    object: ObjectFile,
  ): void {
    const { part, offset: sectionOffset } = this.#placeOf(section);
    const at = sectionOffset + offset;
    if (offset + type.bytes > section.size) {
      throw new LinkError(
        `${describePlace(object, section, offset)}: ${type.name} reaches behind the section's end`,
      );
    }
    this.#relocationCount++;
    const target = this.#targetOf(symbol);
    if (target === undefined) {
      // The function was discarded with its group; unwinders skip frames of functions at 0.
      if (section.name === ".eh_frame") {
        store(type, part.view, at, 0);
        return;
      }
      const place = describePlace(object, section, offset);
      throw new LinkError(
        `${place}: ${symbol.name} is in a group that another object has too, and only there is it kept`,
      );
    }
    const place = part.start + at;
    let value = target + addend - (type.formula === "absolute" ? 0 : place);
    if (type.formula === "table") value = this.#at(this.#entryOf(symbol)) + addend - place;
    else if (!fits(type, value) && (type.formula === "call" || isBranchAt(section, offset))) {
      value = this.#veneerFor(target) + addend - place;
    }
    if (!fits(type, value))
      throw this.#outOfReach(type, symbol, value, describePlace(object, section, offset));
    store(type, part.view, at, value);
  }

  #outOfReach({ name, formula }: RelocationType, symbol: ElfSymbol, value: number, place: string): LinkError {
    const what = `${place}: ${name} does not reach ${symbol.name}`;
    return new LinkError(
      formula === "absolute"
        ? `${what} at ${hex(value)}: it holds 32 bits. The code is for a fixed address; compile it with -fPIC`
        : `${what}, which is ${hex(Math.abs(value))} bytes away: it reaches 2 GiB. Compile with -fPIC, to load its address`,
    );
  }

  #veneerFor(target: Address): Address {
    const veneer = this.#veneers.get(target) ?? this.#builder.veneer(target);
    this.#veneers.set(target, veneer);
    return veneer;
  }

  /** Undefined where the section of a local symbol was discarded. */
  #targetOf(symbol: ElfSymbol): Address | undefined {
    const { place } = symbol;
    if (symbol.binding === "local" && typeof place === "object" && !this.#layout.sections.has(place))
      return undefined;
    return this.#addressOf(symbol);
  }

  #addressOf(symbol: ElfSymbol): Address {
    const { name } = symbol;
    const definition =
      symbol.binding === "local" ? symbol : (this.#resolution.definitions.get(name) ?? symbol);
    if (definition.place === "absolute") return definition.value;
    if (typeof definition.place === "object") {
      const { part, offset } = this.#placeOf(definition.place);
      return part.start + offset + definition.value;
    }
    // What is nowhere is at 0: it may be, where the reference is weak.
    return this.#variableAt(name) ?? this.#externals.get(name) ?? 0;
  }

  #variableAt(name: string): Address | undefined {
    const place = this.#layout.variables.get(name);
    return place === undefined ? undefined : this.#at(place);
  }

  #entryOf(symbol: ElfSymbol): Place {
    const place = this.#layout.table.get(tableKey(symbol));
    if (place === undefined) throw new LinkError(`${this.#file}: ${symbol.name} has no entry in the table`);
    return place;
  }

  /** The functions whose addresses stand in sections of a type, by the priorities in the names of the sections. */
  #functionsIn(type: number): Address[] {
    return this.#resolution.sections
      .filter((section) => section.type === type)
      .sort((one, other) => priorityOf(one) - priorityOf(other))
      .flatMap((section) => {
        const { part, offset } = this.#placeOf(section);
        const count = Math.floor(section.size / 8);
        return Array.from({ length: count }, (_, index) =>
          Number(part.view.getBigUint64(offset + 8 * index, true)),
        );
      });
  }

  #placeOf(section: Section): { part: Part; offset: number } {
    const place = this.#layout.sections.get(section);
    if (place === undefined) throw new LinkError(`${section.object}: section ${section.name} has no place`);
    return { part: this.#partOf(place.kind), offset: place.offset };
  }

  #partOf(kind: Kind): Part {
    const part = this.#parts.get(kind);
    if (part === undefined) throw new LinkError(`${this.#file} has no ${kind}`);
    return part;
  }

  #at(place: Place): Address {
    return this.#partOf(place.kind).start + place.offset;
  }
}

function isBranchAt({ bytes, flags }: Section, offset: number): boolean {
  return (flags & Flag.execute) !== 0 && isBranch(bytes, offset);
}

/** Priorities have 16 bits. `.init_array.00101` comes before `.init_array`, which has none, and the last place. */
function priorityOf({ name }: Section): number {
  return Number(/\.(\d+)$/.exec(name)?.[1] ?? 2 ** 16);
}
