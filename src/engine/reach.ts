/** How far a relative call of this processor reaches. */
import { platform } from "../base/platform.ts";
import type { ProcessorName } from "../base/platform.ts";
import type { Address } from "../ffi/contract.ts";
import { isIndex, refuseValue } from "./refusals.ts";

/** A relative call: the displacements that it can encode, and from where they count. Bytes. */
interface RelativeCall {
  /** The lowest displacement, negated; the highest is a unit less than that. */
  readonly reach: number;
  readonly unit: number;
  /** The displacement counts from the end of the instruction on x86-64, from its start on AArch64. */
  readonly countsFrom: number;
}

/** x86-64: `call rel32`, 32 bits of bytes. AArch64: `bl`, 26 bits of words. */
const CALLS: Readonly<Record<ProcessorName, RelativeCall>> = {
  x64: { reach: 2 ** 31, unit: 1, countsFrom: 5 },
  arm64: { reach: 2 ** 27, unit: 4, countsFrom: 0 },
  // A processor that is not known may reach no further than the one that reaches least.
  other: { reach: 2 ** 27, unit: 4, countsFrom: 0 },
};

/** Bytes: how far a relative call of this processor reaches. */
export function reachBytes(processor: ProcessorName = platform.processor): number {
  return CALLS[processor].reach;
}

/**
 * Whether a relative call at `from` reaches `to`.
 * @throws JitError `ERR_INVALID_ARGUMENT` for what is no address
 */
export function reaches(from: unknown, to: unknown, processor: ProcessorName = platform.processor): boolean {
  const { reach, unit, countsFrom } = CALLS[processor];
  const displacement = addressOf(to) - (addressOf(from) + countsFrom);
  return displacement >= -reach && displacement <= reach - unit;
}

function addressOf(value: unknown): Address {
  if (!isIndex(value)) throw refuseValue("tell the distance of", value, "an address is an integer from 0 on");
  return value;
}
