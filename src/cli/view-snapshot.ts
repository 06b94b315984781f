/** Reads a file that is a snapshot. */
import type { HeapSnapshot, SnapshotBlock, SnapshotSpan } from "../insight/snapshot-format.ts";
import { HEAP_SNAPSHOT } from "../insight/snapshot-format.ts";
import { safeText } from "./text-width.ts";

/** A file that begins like a snapshot, and is none. */
export class SnapshotError extends Error {}

/** Something with the fields of `T`, of whatever type. */
type Unknown<T> = Readonly<Partial<Record<keyof T, unknown>>>;

/** What is shown of the statistics. */
const COUNTS = [
  "allocationCount",
  "blockCount",
  "usedSize",
  "retiredSize",
  "reservedSize",
  "residentSize",
  "overheadSize",
] as const;

const SPACES: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);
const BRACE = 0x7b;

/** Whether a text is JSON: no line of a trace begins so. */
export function looksLikeSnapshot(text: Uint8Array): boolean {
  return text.find((byte) => !SPACES.has(byte)) === BRACE;
}

/** Reads what {@link parseJson} has made of it. @throws SnapshotError that says what is wrong */
export function readSnapshot(value: unknown): HeapSnapshot {
  if (!isObject<HeapSnapshot>(value) || value.schema !== HEAP_SNAPSHOT) {
    throw new SnapshotError(
      `it is no snapshot: its "schema" is ${shown(isObject<HeapSnapshot>(value) ? value.schema : undefined)}, not "${HEAP_SNAPSHOT}"`,
    );
  }
  const { blocks, spans } = value;
  if (!Array.isArray(blocks) || !Array.isArray(spans))
    throw new SnapshotError("it has no blocks, or no spans");
  blocks.forEach((block: unknown, index) => {
    if (!isBlock(block)) throw new SnapshotError(`block ${index} is not as a snapshot has them`);
  });
  spans.forEach((span: unknown, index) => {
    const block: unknown = isSpan(span) ? blocks[span.block] : undefined;
    if (
      !isSpan(span) ||
      !isBlock(block) ||
      span.rx < block.rx ||
      span.rx + span.size > block.rx + block.size
    ) {
      throw new SnapshotError(`span ${index} is not as a snapshot has them, or not in its block`);
    }
  });
  if (!isWhole(value)) throw new SnapshotError("it does not say when and of which process it was taken");
  return value;
}

/** @throws SnapshotError */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    // The message shows a part of the text.
    const message = error instanceof Error ? error.message : String(error);
    throw new SnapshotError(`it is no JSON: ${safeText(message)}`);
  }
}

function isObject<T>(value: unknown): value is Unknown<T> {
  return typeof value === "object" && value !== null;
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isBlock(value: unknown): value is SnapshotBlock {
  return (
    isObject<SnapshotBlock>(value) &&
    [value.rx, value.rw, value.size, value.granularity, value.padding ?? 0].every(isSize) &&
    Number(value.granularity) >= 1 &&
    Number(value.size) % Number(value.granularity) === 0 &&
    typeof value.kind === "string"
  );
}

function isSpan(value: unknown): value is SnapshotSpan {
  return (
    isObject<SnapshotSpan>(value) &&
    [value.rx, value.size, value.block, value.thread ?? 0, value.order ?? 0].every(isSize) &&
    [value.name ?? "", value.code ?? ""].every((text) => typeof text === "string")
  );
}

function isWhole(value: Unknown<HeapSnapshot>): value is HeapSnapshot {
  const { takenAt, process, statistics, range } = value;
  return (
    typeof takenAt === "string" &&
    isObject<HeapSnapshot["process"]>(process) &&
    isSize(process.pid) &&
    typeof process.runtime === "string" &&
    typeof process.system === "string" &&
    isObject<HeapSnapshot["statistics"]>(statistics) &&
    COUNTS.every((name) => isSize(statistics[name])) &&
    (range === undefined ||
      (isObject<NonNullable<HeapSnapshot["range"]>>(range) && isSize(range.start) && isSize(range.size)))
  );
}

function shown(value: unknown): string {
  return value === undefined ? "missing" : safeText(JSON.stringify(value));
}
