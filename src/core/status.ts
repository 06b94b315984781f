/** The result of an operation of the core. An operation that returns any status but `ok` and `sparse` has changed nothing. */
export const enum Status {
  ok,
  /** No block holds the address. */
  unknownAddress,
  /** Inside a block, but free or padding. */
  notAllocated,
  /** Inside a live allocation, not at its start; the core's `granule` is the start. */
  interiorAddress,
  /** The block would become empty and is not to be kept: the caller unmaps it, then calls `removeBlock`. */
  surplusBlock,
  /** Done; and the block, which `block` names, has pages to give back (thrift.ts). */
  sparse,
}
