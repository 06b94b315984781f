/** A map from ranges of addresses to values; any address inside a range finds its value. */
import type { Address } from "../../ffi/contract.ts";

/** A range found by {@link AddressMap.find}. */
export interface AddressRange<T> {
  readonly start: Address;
  readonly value: T;
}

/** Ranges that do not overlap. Finding is a binary search; adding and removing move the ranges that follow. */
export class AddressMap<T extends { readonly sizeBytes: number }> {
  readonly #values = new Map<Address, T>();
  /** The keys of `#values`, ascending. */
  readonly #starts: Address[] = [];

  /** All values, in the order they were added. A value added at two addresses comes twice. */
  values(): Iterable<T> {
    return this.#values.values();
  }

  /** The value whose range starts exactly there. */
  get(start: Address): T | undefined {
    return this.#values.get(start);
  }

  /** The range that holds the address. */
  find(address: Address): AddressRange<T> | undefined {
    const start = this.#starts[this.#firstStartAfter(address) - 1];
    const value = start === undefined ? undefined : this.#values.get(start);
    if (start === undefined || value === undefined || address >= start + value.sizeBytes) return undefined;
    return { start, value };
  }

  /** True where no range has an address in common with `[address, address + sizeBytes)`. */
  isFree(address: Address, sizeBytes: number): boolean {
    const next = this.#starts[this.#firstStartAfter(address)];
    return this.find(address) === undefined && (next === undefined || address + sizeBytes <= next);
  }

  add(start: Address, value: T): void {
    this.#values.set(start, value);
    this.#starts.splice(this.#firstStartAfter(start), 0, start);
  }

  remove(start: Address): void {
    if (this.#values.delete(start)) this.#starts.splice(this.#firstStartAfter(start) - 1, 1);
  }

  /** The index in `#starts` of the first start above `address`. */
  #firstStartAfter(address: Address): number {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle] ?? 0) <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
