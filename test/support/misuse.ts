/** The wrong uses of an allocator: each must be refused with the code the model names, and change nothing. */
import assert from "node:assert/strict";
import type { JitErrorCode } from "../../src/index.ts";
import { wrong } from "./expectations.ts";
import type { ModelAllocation } from "./model.ts";
import {
  ABSURD_SIZES,
  NO_ADDRESSES,
  NO_BYTES,
  NO_INDEXES,
  type ForeignAction,
  type Operation,
} from "./operations.ts";
import { someBytes } from "./rows.ts";
import { pick, type Subject } from "./subject.ts";

/** The operations of this file. */
export type Misuse = Extract<
  Operation,
  { kind: "misuseAddress" | "misuseSpan" | "misuseSize" | "misuseForeign" | "misuseWrite" }
>;
type AddressMisuse = Extract<Operation, { kind: "misuseAddress" }>;

/** Does the misuse. Returns true where the allocator refused, as the model said it would. */
export function performMisuse(subject: Subject, operation: Misuse): boolean {
  switch (operation.kind) {
    case "misuseAddress":
      return misuseAddress(subject, misusedAddress(subject, operation), operation.action);
    case "misuseSpan":
      return misuseSpan(subject, operation);
    case "misuseSize":
      return misuseSize(subject, operation);
    case "misuseForeign":
      return misuseForeign(subject, operation.which, operation.action);
    case "misuseWrite": {
      const allocation = pick(subject.model.live, operation.which);
      return allocation === undefined ? true : misuseWrite(subject, operation, allocation);
    }
  }
}

function misusedAddress({ blocks, model }: Subject, { target, which }: AddressMisuse): unknown {
  const block = pick(blocks, which >>> 4);
  const allocation = pick(model.live, which);
  switch (target) {
    case "stale":
      return pick(model.staleAddresses, which);
    case "interior":
      return allocation === undefined ? undefined : allocation.rx + 1 + (which % (allocation.size - 1));
    case "blockStart":
      return block?.rx;
    case "blockEnd":
      return block === undefined ? undefined : block.rx + block.size;
    case "belowBlock":
      return block === undefined ? undefined : block.rx - 1;
    case "rw":
      return allocation?.spans[0]?.rw;
    case "anywhereInBlock":
      return block === undefined ? undefined : block.rx + (which % block.size);
    case "nowhere":
      return which;
    case "noAddress":
      return NO_ADDRESSES[which % NO_ADDRESSES.length];
  }
}

/** The address may be one that is right by chance; the model says which. */
function misuseAddress(subject: Subject, address: unknown, action: AddressMisuse["action"]): boolean {
  const { allocator, model, blocks } = subject;
  const target = wrong<number>(address);
  const found = typeof address === "number" ? model.find(address) : undefined;
  const mayBeQueried = model.queryRefusal(address, blocks);
  const mayBeReleased = model.refusal(address, blocks);
  switch (action) {
    case "query":
      return subject.attempt(
        mayBeQueried,
        () => allocator.query(target),
        (span) => assert.deepEqual([span.rx, span.size], [found?.rx, found?.size]),
      );
    case "queryAddress":
      return subject.attempt(
        mayBeQueried,
        () => allocator.queryAddress(target),
        (start) => assert.equal(start, found?.rx),
      );
    case "shrink":
      return subject.attempt(
        mayBeReleased,
        () => allocator.shrink(target, 1),
        () => found && model.shrunk(found, 1),
      );
    case "release":
    case "shrinkToNothing":
      return subject.attempt(
        mayBeReleased,
        () => (action === "release" ? allocator.release(target) : allocator.shrink(target, 0)),
        () => found && model.remove(found),
      );
  }
}

function misuseSpan(
  subject: Subject,
  { which, action }: Extract<Operation, { kind: "misuseSpan" }>,
): boolean {
  const { allocator, model } = subject;
  const span = pick(model.staleSpans, which);
  if (span === undefined) return true;
  assert.ok(span.isReleased, "what was released once stays released");
  assert.equal(span.size, 0, "what was released has no size");
  if (action === "dispose") {
    span[Symbol.dispose]();
    return true;
  }
  const bytes = someBytes(8);
  const act = {
    release: () => span.release(),
    shrink: () => span.shrink(which % 3),
    write: () => span.write(0, bytes),
    emit: () => allocator.write(span, () => assert.fail("the callback of a released span ran")),
    read: () => span.read(),
    "allocator.release": () => allocator.release(span),
    "allocator.shrink": () => allocator.shrink(span, which % 3),
  }[action];
  return subject.attempt("ERR_RELEASED", act, () => undefined);
}

function misuseSize(
  subject: Subject,
  { size: index, action, which }: Extract<Operation, { kind: "misuseSize" }>,
): boolean {
  const { allocator, model } = subject;
  const value = ABSURD_SIZES[index];
  const size = wrong<number>(value);
  if (action === "shrink") {
    const allocation = pick(model.live, which);
    if (allocation === undefined || value === 0) return true;
    // Every other size in question is no size, or more than any allocation has.
    return subject.attempt("ERR_INVALID_ARGUMENT", () => allocator.shrink(allocation.rx, size), ignore);
  }
  const isTooLarge = typeof value === "number" && Number.isInteger(value) && value > 0;
  return subject.attempt(
    isTooLarge ? "ERR_TOO_LARGE" : "ERR_INVALID_ARGUMENT",
    () => (action === "alloc" ? allocator.alloc(size) : allocator.allocAddress(size)),
    ignore,
  );
}

/** The other allocator's code is looked at when everything is. */
function misuseForeign(subject: Subject, which: number, action: ForeignAction): boolean {
  const { allocator } = subject;
  const span = pick(subject.foreignSpans, which);
  assert.ok(span);
  const bytes = someBytes(8, 77);
  const act = {
    release: () => allocator.release(span),
    shrink: () => allocator.shrink(span, which % 3),
    write: () => allocator.write(span, 0, bytes),
    emit: () => allocator.write(span, () => assert.fail("the callback of another allocator's span ran")),
    scope: () => allocator.writeScope().write(span, 0, bytes),
    releaseAddress: () => allocator.release(span.rx),
    shrinkAddress: () => allocator.shrink(span.rx, which % 3),
    query: () => allocator.query(span.rx + (which % span.size)),
    queryAddress: () => allocator.queryAddress(span.rx + (which % span.size)),
  }[action];
  return subject.attempt("ERR_UNKNOWN_ADDRESS", act, ignore);
}

function misuseWrite(
  subject: Subject,
  { which, action }: Extract<Operation, { kind: "misuseWrite" }>,
  allocation: ModelAllocation,
): boolean {
  const { allocator, model } = subject;
  const [span] = allocation.spans;
  assert.ok(span);
  const bytes = someBytes(8, 33);
  const absurd = wrong<number>(NO_INDEXES[which % NO_INDEXES.length]);
  const act = {
    offset: () => span.write(absurd, bytes),
    bytes: () => span.write(0, wrong<Uint8Array>(NO_BYTES[which % NO_BYTES.length])),
    policy: () => allocator.write(span, 0, bytes, wrong<"never">("always")),
    kept: () =>
      allocator.write(span, (code) => {
        code.fill(9);
        return absurd;
      }),
    readOffset: () => span.read(absurd),
    readLength: () => span.read(0, absurd),
  }[action];
  const refused = subject.attempt("ERR_INVALID_ARGUMENT" satisfies JitErrorCode, act, ignore);
  model.checkContents(allocation);
  return refused;
}

function ignore(): void {
  // What should have been refused and was not has failed before it comes here.
}
