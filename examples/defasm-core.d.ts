/** The types of the parts of `@defasm/core` that the examples and documents use; it ships none. */
declare module "@defasm/core" {
  /** Assembles text, piece by piece. */
  export class AssemblyState {
    constructor(options?: { syntax?: { intel: boolean; prefix: boolean } });
    /** Assembles more text. Mistakes in it go to {@link errors}. */
    compile(source: string): void;
    readonly errors: readonly { readonly message: string }[];
    /** The list of statements; its dump is their machine code, in order. */
    readonly head: { dump(): Uint8Array };
    /** Calls back for each statement, with its line. What it leaves for a linker to fill in are relocations. */
    iterate(action: (statement: { readonly relocations?: readonly unknown[] }, line: number) => void): void;
  }
}
