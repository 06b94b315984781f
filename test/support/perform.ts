/** The right uses of an allocator, each done to the allocator and told to the model. */
import assert from "node:assert/strict";
import { JitError, type Span } from "../../src/index.ts";
import { performMisuse } from "./misuse.ts";
import type { ModelAllocation } from "./model.ts";
import type { InsideAction, Operation } from "./operations.ts";
import { platform } from "../../src/base/platform.ts";
import { performLinking } from "./perform-linking.ts";
import { someBytes } from "./rows.ts";
import { pick, type Subject } from "./subject.ts";

/** What an error of the model itself is thrown as from a write callback. */
const CALLBACK_ERROR = new Error("the callback of this run fails on purpose");
/** How many spans of one allocation are kept: enough to be several. */
const SPANS_LIMIT = 4;

type Use = Extract<
  Operation,
  { kind: "release" | "shrink" | "query" | "write" | "patch" | "emit" | "scope" | "reenter" }
>;

/** Does the operation. Returns true where the allocator refused, as the model said it would. */
export function perform(subject: Subject, operation: Operation): boolean {
  switch (operation.kind) {
    case "alloc":
      return alloc(subject, operation);
    case "veneer":
    case "module":
    case "unload":
      return performLinking(subject, operation);
    case "reset":
      subject.allocator.reset(operation.policy);
      subject.model.clear();
      return false;
    case "release":
    case "shrink":
    case "query":
    case "write":
    case "patch":
    case "emit":
    case "scope":
    case "reenter": {
      const which = operation.kind === "scope" ? (operation.which[0] ?? 0) : operation.which;
      const allocation = pick(subject.model.live, which);
      return allocation === undefined ? true : use(subject, operation, allocation);
    }
    default:
      return performMisuse(subject, operation);
  }
}

function alloc(
  subject: Subject,
  { sizeBytes, by, of }: Pick<Extract<Operation, { kind: "alloc" }>, "sizeBytes" | "by" | "of">,
): boolean {
  const { allocator, model } = subject;
  let span: Span | undefined;
  const allocate = (): Span => {
    if (of !== "code") return allocator.alloc(sizeBytes, { kind: of });
    return by === "span" ? allocator.alloc(sizeBytes) : allocator.query(allocator.allocAddress(sizeBytes));
  };
  if (subject.mustRunOut(sizeBytes, of)) {
    return subject.attempt("ERR_OUT_OF_MEMORY", allocate, () => assert.fail("there was no room for this"));
  }
  const refused = subject.attempt(undefined, allocate, (made) => (span = made));
  if (span !== undefined) model.add(span, sizeBytes, of);
  return refused;
}

/** The operations on something live. */
function use(subject: Subject, operation: Use, allocation: ModelAllocation): boolean {
  const { allocator, model } = subject;
  const span = pick(allocation.spans, operation.kind === "scope" ? 0 : operation.which >>> 8);
  assert.ok(span);
  switch (operation.kind) {
    case "release": {
      model.checkContents(allocation);
      const release = {
        span: () => span.release(),
        address: () => allocator.release(allocation.rx),
        dispose: () => span[Symbol.dispose](),
      }[operation.by];
      return subject.attempt(undefined, release, () => model.remove(allocation));
    }
    case "shrink": {
      const newSize = Math.floor(operation.part * allocation.size);
      const target = operation.by === "span" ? span : allocation.rx;
      return subject.attempt(
        newSize > allocation.size ? "ERR_INVALID_ARGUMENT" : undefined,
        () => allocator.shrink(target, newSize),
        () => model.shrunk(allocation, newSize),
      );
    }
    case "query": {
      const offset = Math.min(Math.floor(operation.part * allocation.size), allocation.size - 1);
      return subject.attempt(
        undefined,
        () => allocator.query(allocation.rx + offset),
        (found) => {
          assert.equal(allocator.queryAddress(allocation.rx + offset), allocation.rx);
          allocation.spans.push(found);
          if (allocation.spans.length > SPANS_LIMIT) allocation.spans.splice(1, 1);
          model.checkContents(allocation);
        },
      );
    }
    case "write": {
      const offset = Math.floor(operation.part * allocation.size);
      const length = Math.floor(operation.lengthPart * Math.min(allocation.size, 256));
      const bytes = someBytes(length, operation.which % 97);
      return subject.attempt(
        offset + bytes.length > allocation.size ? "ERR_INVALID_ARGUMENT" : undefined,
        () => allocator.write(span, offset, bytes, operation.policy),
        () => allocation.contents.set(bytes, offset),
        [allocation],
      );
    }
    case "patch":
      return patch(subject, operation, allocation, span);
    case "emit":
      return emit(subject, operation, allocation, span);
    case "scope":
      return writeInScope(subject, operation);
    case "reenter":
      return reenter(subject, operation.inside, allocation, span);
  }
}

function patch(
  subject: Subject,
  { part, length, off, which }: Extract<Operation, { kind: "patch" }>,
  allocation: ModelAllocation,
  span: Span,
): boolean {
  const offset = Math.floor((part * allocation.size) / length) * length + off;
  const bytes = someBytes(length, which % 83);
  const isWord = allocation.kind === "code" && platform.processor === "arm64";
  const isRight =
    allocation.kind !== "data" &&
    (isWord ? [4] : [1, 2, 4, 8]).includes(length) &&
    offset % length === 0 &&
    offset + length <= allocation.size;
  return subject.attempt(
    isRight ? undefined : "ERR_INVALID_ARGUMENT",
    () => span.patch(offset, bytes),
    () => allocation.contents.set(bytes, offset),
    [allocation],
  );
}

function emit(
  subject: Subject,
  operation: Extract<Operation, { kind: "emit" }>,
  allocation: ModelAllocation,
  span: Span,
): boolean {
  const { allocator, model } = subject;
  const kept = Math.floor(operation.keptPart * allocation.size);
  const bytes = someBytes(allocation.size, operation.which % 89);
  if (operation.fails) {
    assert.throws(
      () =>
        allocator.write(span, (code) => {
          code.set(bytes);
          throw CALLBACK_ERROR;
        }),
      (error) => error === CALLBACK_ERROR,
    );
    model.checkContents(allocation);
    return true;
  }
  return subject.attempt(
    kept === 0 || kept > allocation.size ? "ERR_INVALID_ARGUMENT" : undefined,
    () =>
      allocator.write(
        span,
        (code) => {
          assert.equal(code.length, bytes.length);
          code.set(bytes);
          return kept;
        },
        operation.policy,
      ),
    () => {
      model.shrunk(allocation, kept);
      // What lies between the bytes kept and the end of their granule is nobody's promise.
      allocation.contents.set(span.read(kept), kept);
      allocation.contents.set(bytes.subarray(0, kept));
      model.checkContents(allocation);
    },
    [allocation],
  );
}

/** Writes to several allocations in one scope: through bytes and through callbacks in turn. */
function writeInScope(subject: Subject, { which, part }: Extract<Operation, { kind: "scope" }>): boolean {
  const { allocator, model } = subject;
  const targets = which.flatMap((number) => pick(model.live, number) ?? []);
  const writes = targets.map((allocation, index) => {
    const offset = Math.min(Math.floor(part * allocation.size), allocation.size - 1);
    return { allocation, offset, bytes: someBytes(Math.min(allocation.size - offset, 100), 1 + index) };
  });
  return subject.attempt(
    undefined,
    () => {
      const scope = allocator.writeScope();
      try {
        writes.forEach(({ allocation, offset, bytes }, index) => {
          const [span] = allocation.spans;
          assert.ok(span);
          if (index % 2 === 0) scope.write(span, offset, bytes);
          else scope.write(span, (code) => code.set(bytes, offset));
        });
        scope.flush();
      } finally {
        scope[Symbol.dispose]();
      }
      assert.throws(
        () => scope.flush(),
        (error) => error instanceof JitError && error.code === "ERR_DISPOSED",
      );
    },
    () => {
      for (const { allocation, offset, bytes } of writes) allocation.contents.set(bytes, offset);
      for (const { allocation } of writes) model.checkContents(allocation);
    },
    targets,
  );
}

/** A write callback that uses the allocator that called it. */
function reenter(subject: Subject, inside: InsideAction, allocation: ModelAllocation, span: Span): boolean {
  const { allocator, model } = subject;
  const bytes = someBytes(allocation.size, 5);
  const write = (act: () => void): void =>
    allocator.write(span, (code) => {
      code.set(bytes);
      act();
    });
  switch (inside) {
    case "release":
      subject.attempt("ERR_RELEASED", () => write(() => span.release()), unreachable);
      model.remove(allocation);
      return false;
    case "reset":
      subject.attempt("ERR_RELEASED", () => write(() => allocator.reset()), unreachable);
      model.clear();
      return false;
    case "shrink": {
      const newSize = Math.ceil(allocation.size / 2);
      write(() => span.shrink(newSize));
      model.shrunk(allocation, newSize);
      allocation.contents.set(bytes.subarray(0, allocation.size));
      model.checkContents(allocation);
      return false;
    }
    case "alloc": {
      write(() => void alloc(subject, { sizeBytes: 64, by: "span", of: "code" }));
      allocation.contents.set(bytes);
      model.checkContents(allocation);
      return false;
    }
  }
}

function unreachable(): never {
  assert.fail("the write went through");
}
