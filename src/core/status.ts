/** What an operation of the core came to. Everything but `ok` has changed nothing. */
export const enum Status {
  ok,
  /** No block holds the address. */
  unknownAddress,
  /** Inside a block, but free or padding. */
  notAllocated,
  /** Inside a live allocation, not its start; the core's `granule` is its start. */
  interiorAddress,
  /** The block would be empty and not kept: unmap it, then `removeBlock` it. */
  surplusBlock,
}
