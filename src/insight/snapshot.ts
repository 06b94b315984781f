/** Takes snapshots of a heap. */
import { platform } from "../base/platform.ts";
import type { HeapSurvey, SurveyedSpan } from "../engine/heap-survey.ts";
import type { AllocatorOperations } from "../engine/operations.ts";
import { codeNameAt } from "./code-names.ts";
import { HEAP_SNAPSHOT, type HeapSnapshot, type SnapshotSpan } from "./snapshot-format.ts";

/** Bytes that are encoded at once: as many as a call has arguments, and a multiple of 3. */
const ENCODED_AT_ONCE = 3 * 1024;

/** Takes a snapshot. @param wantsCode whether with the bytes of code */
export function takeSnapshot(operations: AllocatorOperations, wantsCode: boolean): HeapSnapshot {
  const { statistics, range, blocks, spans }: HeapSurvey = operations.survey(wantsCode);
  return {
    schema: HEAP_SNAPSHOT,
    takenAt: new Date().toISOString(),
    process: {
      pid: process.pid,
      runtime: `${platform.runtime} ${platform.runtimeVersion}`,
      system: `${platform.system} ${platform.processor}`,
    },
    ...(range === undefined ? {} : { range: { start: range.rx, size: range.sizeBytes } }),
    statistics,
    blocks: blocks.map(({ padding, ...block }) => (padding === 0 ? block : { ...block, padding })),
    spans: spans.map((span) => describeSpan(operations, span)),
  };
}

function describeSpan(operations: AllocatorOperations, surveyed: SurveyedSpan): SnapshotSpan {
  const { rx, size, block, isRetired, member, order, code } = surveyed;
  const span: SnapshotSpan = { rx, size, block };
  const name = isRetired ? undefined : codeNameAt(operations, rx);
  if (name !== undefined) span.name = name;
  if (member !== undefined) span.thread = member;
  if (order !== undefined) span.order = order;
  if (isRetired) span.retired = true;
  if (code !== undefined) span.code = base64(code);
  return span;
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let start = 0; start < bytes.length; start += ENCODED_AT_ONCE) {
    text += btoa(String.fromCharCode(...bytes.subarray(start, start + ENCODED_AT_ONCE)));
  }
  return text;
}
