/** A foreign function interface that throws where it is told to, whatever it is asked for there. */
import type {
  Address,
  CallbackCode,
  Ffi,
  NativeCallable,
  NativeFunction,
  NativeLibrary,
  NativeSignature,
} from "../../src/ffi/contract.ts";

/** What an interface throws: an error of its own kind, which nobody above `ffi/` may see. */
export class InterfaceError extends TypeError {}

/** `inner`, each of whose functions can be made to throw instead of being called. */
export class ThrowingFfi implements Ffi {
  readonly name = "throwing";
  readonly version = "0";
  readonly reason = "";
  /** What was asked for so far: `open`, `find mmap`, `call mmap`, `errno`, `view`, `callable`, `call of code`. */
  readonly events: string[] = [];
  readonly #inner: Ffi;
  readonly #refusesViews: boolean;
  #throwAt = Infinity;

  /** @param refusesViews whether it throws at each view as well, as a runtime with V8's sandbox */
  constructor(inner: Ffi, refusesViews = false) {
    this.#inner = inner;
    this.#refusesViews = refusesViews;
  }

  /** The event of that number (0 = the next one) throws, once. */
  throwAt(position: number): void {
    this.#throwAt = this.events.length + position;
  }

  open(names: readonly string[]): NativeLibrary {
    this.#pass("open");
    const library = this.#inner.open(names);
    return { name: library.name, find: (symbol, signature) => this.#find(library, symbol, signature) };
  }

  errno(): number {
    this.#pass("errno");
    return this.#inner.errno();
  }

  view(address: Address, sizeBytes: number): ArrayBuffer {
    this.#pass("view");
    if (this.#refusesViews) throw new InterfaceError("External buffers are not allowed");
    return this.#inner.view(address, sizeBytes);
  }

  detach(buffer: ArrayBuffer): void {
    this.#inner.detach(buffer);
  }

  addressOf(buffer: ArrayBuffer): Address {
    this.#pass("addressOf");
    return this.#inner.addressOf(buffer);
  }

  callable(address: Address, signature: NativeSignature): NativeCallable {
    this.#pass("callable");
    const inner = this.#inner.callable(address, signature);
    return { call: this.#passing("call of code", inner.call), close: () => inner.close() };
  }

  callback(call: NativeFunction, signature: NativeSignature): CallbackCode {
    this.#pass("callback");
    return this.#inner.callback(call, signature);
  }

  #find(library: NativeLibrary, symbol: string, signature: NativeSignature): NativeFunction | undefined {
    this.#pass(`find ${symbol}`);
    const found = library.find(symbol, signature);
    return found === undefined ? undefined : this.#passing(`call ${symbol}`, found);
  }

  #passing(event: string, act: NativeFunction): NativeFunction {
    return (...args) => {
      this.#pass(event);
      return act(...args);
    };
  }

  #pass(event: string): void {
    const index = this.events.push(event) - 1;
    if (index !== this.#throwAt) return;
    this.#throwAt = Infinity;
    throw new InterfaceError(`the interface refuses: ${event}`);
  }
}

/** An interface to a machine in JavaScript, whose native functions are `functions`, by their names. */
export function interfaceTo(
  functions: Readonly<Record<string, NativeFunction>>,
  errno: () => number,
  code: NativeFunction = () => undefined,
): Ffi {
  return {
    name: "fake",
    version: "0",
    reason: "",
    open: (names) => ({ name: names[0] ?? "", find: (symbol) => functions[symbol] }),
    errno,
    view: (_address, sizeBytes) => new ArrayBuffer(sizeBytes),
    detach: () => undefined,
    addressOf: () => 4096,
    callable: () => ({ call: code, close: () => undefined }),
    callback: () => ({ address: 4096, close: () => undefined }),
  };
}
