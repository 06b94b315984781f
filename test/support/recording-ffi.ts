import type { Ffi, NativeSignature } from "../../src/ffi/contract.ts";

/** What a library did: `open`, `find` with the signature, or a call with its arguments. */
export type NativeEvent =
  | { readonly open: readonly string[] }
  | { readonly find: string; readonly signature: NativeSignature }
  | { readonly call: string; readonly args: readonly unknown[] };

/**
 * A foreign function interface that calls nothing: it records what is asked of it, and answers with what `answers`
 * has for the function. What has no answer is a function that the library lacks.
 */
export class RecordingFfi implements Pick<Ffi, "open" | "errno" | "view" | "detach"> {
  readonly events: NativeEvent[] = [];
  readonly #answers: Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;

  constructor(answers: Readonly<Record<string, (...args: readonly unknown[]) => unknown>>) {
    this.#answers = answers;
  }

  /** The calls alone, without the buffers among the arguments, which are nobody's to compare. */
  get calls(): readonly (readonly unknown[])[] {
    return this.events.flatMap((event) =>
      "call" in event
        ? [[event.call, ...event.args.map((value) => (ArrayBuffer.isView(value) ? "buffer" : value))]]
        : [],
    );
  }

  open(names: readonly string[]): ReturnType<Ffi["open"]> {
    this.events.push({ open: names });
    return {
      name: names[0] ?? "",
      find: (symbol, signature) => {
        this.events.push({ find: symbol, signature });
        const answer = this.#answers[symbol];
        if (answer === undefined) return undefined;
        return (...args) => {
          this.events.push({ call: symbol, args });
          return answer(...args);
        };
      },
    };
  }

  errno(): number {
    return 12;
  }

  view(_address: number, sizeBytes: number): ArrayBuffer {
    return new ArrayBuffer(sizeBytes);
  }

  detach(): void {
    // Nothing is aliased.
  }
}
