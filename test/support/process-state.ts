/** What the system says this process holds: Linux alone does, others seem to hold nothing. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { platform } from "../../src/base/platform.ts";

/** Whether what follows tells anything. */
export const SHOWS_MAPPINGS = platform.system === "linux";

/** The lines of /proc/self/maps. */
export function mapLines(): readonly string[] {
  if (!SHOWS_MAPPINGS) return [];
  return readFileSync("/proc/self/maps", "utf8").trimEnd().split("\n");
}

/** The line of the mapping that holds the address. */
export function mapLineOf(address: number): string | undefined {
  return mapLines().find((line) => {
    const [start, end] = (line.split(" ", 1)[0] ?? "").split("-").map((hex) => Number.parseInt(hex, 16));
    return start !== undefined && end !== undefined && start <= address && address < end;
  });
}

/** `r-xs` and the like. */
export function accessOf(address: number): string | undefined {
  return mapLineOf(address)?.split(" ")[1];
}

/** The mappings of this library's memfds and files. */
export function ownMapLines(): readonly string[] {
  return mapLines().filter((line) => line.includes("jit-allocator-") || line.includes("memfd:jit-allocator"));
}

/**
 * Those of them that can be accessed: what blocks have. The rest is addresses alone, of an allocator's range or of the one
 * that is kept for the next allocator.
 */
export function ownUsedLines(): readonly string[] {
  return ownMapLines().filter((line) => line.split(" ")[1] !== "---s");
}

/** An address with at least so many bytes of free addresses around it. */
export function addressAmid(freeBytes: number): number {
  let end = 0;
  for (const line of mapLines()) {
    const [start = 0, next = 0] = (line.split(" ", 1)[0] ?? "")
      .split("-")
      .map((hex) => Number.parseInt(hex, 16));
    if (end !== 0 && start - end >= freeBytes) return end + Math.floor((start - end) / 2);
    end = next;
  }
  return assert.fail(`${freeBytes} free bytes of addresses are nowhere`);
}

/** Bytes of the mapping of a line. */
export function sizeOfLine(line: string): number {
  const [start = 0, end = 0] = (line.split(" ", 1)[0] ?? "")
    .split("-")
    .map((hex) => Number.parseInt(hex, 16));
  return end - start;
}

/** What each open descriptor leads to. */
export function openDescriptors(): readonly string[] {
  if (!SHOWS_MAPPINGS) return [];
  return readdirSync("/proc/self/fd")
    .flatMap((descriptor) => {
      try {
        return [`${descriptor} ${readlinkSync(`/proc/self/fd/${descriptor}`)}`];
      } catch {
        // The one that listed the directory is closed by now.
        return [];
      }
    })
    .sort();
}
