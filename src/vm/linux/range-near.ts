/** Finds addresses for a range from which a relative call reaches a given address. */
import { JitError, formatAddress } from "../../base/errors.ts";
import type { Address } from "../../ffi/contract.ts";
import type { RangeRequest } from "../range/contract.ts";

/** A mapping in /proc/self/maps: its start and its end. */
const MAP_LINE = /^([0-9a-f]+)-([0-9a-f]+) /;

/** Linux lets no process map below 64 KiB (vm.mmap_min_addr), and nothing is lost above that. */
const LOWEST_ADDRESS = 2 * 1024 * 1024;

/** The addresses of a process on x86-64 and AArch64 end below 2**47. */
const HIGHEST_ADDRESS = 2 ** 47;

/** Without /proc/self/maps places are tried one after the other, at this distance. Bytes: half of the smallest range. */
const TRIED_EVERY_BYTES = 32 * 1024 * 1024;

/** A request with an address to be near to. */
export type NearRequest = RangeRequest & { readonly near: Address };

interface Gap {
  readonly start: Address;
  readonly end: Address;
}

/** The free addresses, from the lowest, as /proc/self/maps tells them. */
function gapsIn(maps: string): Gap[] {
  const gaps: Gap[] = [];
  let end = LOWEST_ADDRESS;
  for (const line of maps.split("\n")) {
    const [, from, to] = MAP_LINE.exec(line) ?? [];
    if (from === undefined || to === undefined) continue;
    const start = Number.parseInt(from, 16);
    if (start > end) gaps.push({ start: end, end: start });
    end = Math.max(end, Number.parseInt(to, 16));
  }
  if (end < HIGHEST_ADDRESS) gaps.push({ start: end, end: HIGHEST_ADDRESS });
  return gaps;
}

/**
 * The places of the executable view, the nearest first, for which everything lies within reach of `near`.
 * @param rxOffset bytes that have to be free before the executable view
 * @param maps the text of /proc/self/maps; undefined where it cannot be read: every place in reach is named then
 */
export function placesNear(
  { near, reachBytes }: NearRequest,
  sizeBytes: number,
  rxOffset: number,
  alignment: number,
  maps: string | undefined,
): readonly Address[] {
  const lowest = roundUp(Math.max(near - reachBytes, LOWEST_ADDRESS + rxOffset), alignment);
  const highest = near + reachBytes - sizeBytes;
  if (highest < lowest) return [];
  const distance = (rx: Address): number => Math.max(near - rx, rx + sizeBytes - near);
  const byDistance = (places: readonly Address[]): readonly Address[] =>
    [...new Set(places)]
      .filter((rx) => rx >= lowest && rx <= highest)
      .sort((a, b) => distance(a) - distance(b) || a - b);
  if (maps === undefined) {
    const count = Math.floor((highest - lowest) / TRIED_EVERY_BYTES) + 1;
    return byDistance(Array.from({ length: count }, (_, index) => lowest + index * TRIED_EVERY_BYTES));
  }
  return byDistance(
    gapsIn(maps).flatMap(({ start, end }) => {
      const first = roundUp(Math.max(start + rxOffset, lowest), alignment);
      const last = Math.min(roundDown(end - sizeBytes, alignment), roundDown(highest, alignment));
      if (last < first) return [];
      // The middle of the range at the address is the best; else the end of the gap that is nearer.
      const best = Math.min(Math.max(roundDown(near - sizeBytes / 2, alignment), first), last);
      return [best, first, last];
    }),
  );
}

/** The error where no addresses are near enough. @param maps the text of /proc/self/maps, if it can be read */
export function tooFar(request: RangeRequest, maps: string | undefined): JitError {
  const { near = 0, leastBytes, reachBytes, isDual } = request;
  const totalBytes = isDual ? 2 * leastBytes : leastBytes;
  const distances = gapsIn(maps ?? "")
    .filter(({ start, end }) => end - start >= totalBytes)
    .map(({ start, end }) => Math.max(0, end < near ? near - end : start - near) + leastBytes);
  const nearest =
    maps === undefined ? "" : `; the nearest free addresses reach as far as ${Math.min(...distances)}`;
  return new JitError(
    "ERR_OUT_OF_REACH",
    `Cannot reserve a range near ${formatAddress(near)}: no ${totalBytes} free bytes of addresses lie within the ` +
      `${reachBytes} bytes that a relative call reaches${nearest}; leave out \`near\`, and call through a register`,
  );
}

function roundUp(address: number, alignment: number): number {
  return Math.ceil(address / alignment) * alignment;
}

function roundDown(address: number, alignment: number): number {
  return Math.floor(address / alignment) * alignment;
}
