import type { Address } from "../../src/ffi/contract.ts";

/** A range of addresses that something is mapped at. */
interface Mapped {
  readonly start: Address;
  readonly sizeBytes: number;
}

/**
 * The addresses of a fake machine: what is mapped where. What would hit the mapping of somebody else in a real
 * process throws a plain Error.
 */
export class FakeAddressSpace<M extends Mapped> {
  mappings: M[] = [];
  #next: Address;

  constructor(firstAddress: Address) {
    this.#next = firstAddress;
  }

  /** Takes a free range; mappings of a real system touch each other as well. */
  place(sizeBytes: number, unitBytes: number): Address {
    const start = this.#next;
    this.#next += Math.ceil(sizeBytes / unitBytes) * unitBytes;
    return start;
  }

  at(address: Address): M | undefined {
    return this.mappings.find(({ start, sizeBytes }) => start <= address && address < start + sizeBytes);
  }

  /** Takes a range out, all of which must be mapped. */
  cut(address: Address, sizeBytes: number, what: string): void {
    const end = address + sizeBytes;
    let hitBytes = 0;
    this.mappings = this.mappings.flatMap((mapping) => {
      const mappingEnd = mapping.start + mapping.sizeBytes;
      const from = Math.max(address, mapping.start);
      const to = Math.min(end, mappingEnd);
      if (from >= to) return [mapping];
      hitBytes += to - from;
      const head = { ...mapping, sizeBytes: from - mapping.start };
      const tail = { ...mapping, start: to, sizeBytes: mappingEnd - to };
      return [head, tail].filter((part) => part.sizeBytes > 0);
    });
    if (hitBytes !== sizeBytes)
      throw new Error(`${what} hits ${sizeBytes - hitBytes} bytes that are not ours`);
  }

  describe(): string[] {
    return this.mappings.map(({ start, sizeBytes }) => `mapping ${start.toString(16)} ${sizeBytes}`);
  }
}
