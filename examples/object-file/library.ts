/** A linked archive as a library that TypeScript calls. */
import type { Address, JitAllocator, Signature, Span, SpanToken, TypedFunction } from "jit-allocator";
import { toFunction } from "jit-allocator";
import { readFileSync } from "node:fs";
import path from "node:path";
import { FrameRegistration } from "./frames.ts";
import { link, type Linked } from "./linker.ts";
import { LinkError } from "./link-error.ts";
import type { LinkOptions } from "./survey.ts";

/** A library as another thread gets it: the code stays where it is. */
export interface SharedLibrary {
  readonly file: string;
  readonly code: SpanToken;
  readonly symbols: ReadonlyMap<string, Address>;
}

const RUN = { parameters: [], result: "void" } as const;

/** The functions of an archive, by name. */
export class Library {
  readonly #file: string;
  readonly #code: Span;
  readonly #symbols: ReadonlyMap<string, Address>;

  protected constructor(file: string, code: Span, symbols: ReadonlyMap<string, Address>) {
    this.#file = file;
    this.#code = code;
    this.#symbols = symbols;
  }

  /** A library that another thread has loaded, in a thread that has attached to its allocator. */
  static attach(allocator: JitAllocator, { file, code, symbols }: SharedLibrary): Library {
    return new Library(file, allocator.spanOf(code), symbols);
  }

  /** What another thread needs to attach to it: to be sent as a message. */
  share(): SharedLibrary {
    return { file: this.#file, code: this.#code.token, symbols: this.#symbols };
  }

  /** The address of a function or a variable. @throws LinkError where the archive does not define it */
  addressOf(name: string): Address {
    const address = this.#symbols.get(name);
    if (address === undefined) throw new LinkError(`${this.#file} does not define ${name}`);
    return address;
  }

  /** A function of the archive; its types are the caller's to know. @throws LinkError as {@link addressOf} */
  toFunction<const S extends Signature>(name: string, signature: S): TypedFunction<S> {
    return this.callable(this.addressOf(name), signature, name);
  }

  protected callable<const S extends Signature>(
    address: Address,
    signature: S,
    name?: string,
  ): TypedFunction<S> {
    const offset = address - this.#code.rx;
    return toFunction(this.#code, signature, name === undefined ? { offset } : { offset, name });
  }
}

/** A library that this thread has loaded, and may unload. */
export class LoadedLibrary extends Library implements Disposable {
  /** What was linked. */
  readonly linked: Linked;
  readonly #frames: FrameRegistration | undefined;
  #isDisposed = false;

  private constructor(file: string, code: Span, linked: Linked, frames: FrameRegistration | undefined) {
    super(file, code, linked.symbols);
    this.linked = linked;
    this.#frames = frames;
  }

  /**
   * Reads an archive or an object file, links it, and runs its constructors.
   * @throws LinkError where it cannot be read or linked; JitError as the allocator; what a callback threw in a constructor. Nothing
   *   is left then
   */
  static load(allocator: JitAllocator, file: string, options?: LinkOptions): LoadedLibrary {
    return LoadedLibrary.fromBytes(allocator, path.basename(file), readBytes(file), options);
  }

  /** As {@link load}, from bytes; the name is for messages. */
  static fromBytes(
    allocator: JitAllocator,
    file: string,
    bytes: Uint8Array,
    options?: LinkOptions,
  ): LoadedLibrary {
    const linked = link(allocator, file, bytes, options);
    let library: LoadedLibrary | undefined;
    try {
      const code = linked.module.spans.find(({ kind }) => kind === "code");
      if (code === undefined) throw new LinkError(`${file} has no code`);
      const frames =
        linked.frames === undefined ? undefined : FrameRegistration.register(allocator, linked.frames);
      library = new LoadedLibrary(file, code, linked, frames);
      for (const constructor of linked.constructors) library.callable(constructor, RUN)();
      return library;
    } catch (error) {
      if (library === undefined) linked.module.release();
      else library.#unload();
      throw error;
    }
  }

  /** Runs the destructors and releases all memory. None of its code may be running. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    try {
      for (const destructor of this.linked.destructors) this.callable(destructor, RUN)();
    } finally {
      this.#unload();
    }
  }

  #unload(): void {
    this.#isDisposed = true;
    this.#frames?.[Symbol.dispose]();
    this.linked.module.release();
  }
}

/** @throws LinkError */
function readBytes(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new LinkError(`${path.basename(file)} cannot be read: ${reason}`, { cause: error });
  }
}
