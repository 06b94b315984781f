/** Says why the core found no allocation at an address. */
import type { Core } from "../core/core.ts";
import { Status } from "../core/status.ts";
import type { JitError } from "../base/errors.ts";
import * as refusals from "./refusals.ts";

/** The error for an address that the core has just refused with `status`; the core still names the place. */
export function refusedAddress(core: Core, action: string, address: unknown, status: Status): JitError {
  if (!refusals.isIndex(address)) return refusals.refuseAddress(action, address);
  if (status === Status.unknownAddress) return refusals.refuseUnknownAddress(action, address);
  if (status === Status.notAllocated) return refusals.refuseFreeAddress(action, address);
  const { block, granule } = core;
  const size = core.lengthAt(block, granule) << core.granuleShiftOf(core.poolIndexOf(block));
  return refusals.refuseInterior(action, address, core.addressOf(block, granule), size);
}
