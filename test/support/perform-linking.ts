/** Veneers and modules, done to the allocator and told to the model: to it they are allocations like others. */
import assert from "node:assert/strict";
import { JitError, type JitModule, type SpanKind, type Veneer } from "../../src/index.ts";
import type { Operation } from "./operations.ts";
import { someBytes } from "./rows.ts";
import { pick, type Subject } from "./subject.ts";

type Linking = Extract<Operation, { kind: "veneer" | "module" | "unload" }>;

/** Few targets, so that veneers meet. */
const TARGETS = [0, 4096, 0x7fff_ffff_f000, 2 ** 53 - 1] as const;
const KINDS: readonly SpanKind[] = ["code", "constants", "data"];
/** How many veneers and modules are kept at once. */
const LIMIT = 24;
/** Bytes of a stub, and where its cell is. */
const STUB_BYTES = 16;
const CELL_AT = 8;

/** Does the operation. Returns true where the allocator refused, as the model said it would. */
export function performLinking(subject: Subject, operation: Linking): boolean {
  switch (operation.kind) {
    case "veneer":
      return operation.action === "take" ? take(subject, operation.which) : useVeneer(subject, operation);
    case "module":
      return build(subject, operation);
    case "unload": {
      const loaded = pick(subject.modules, operation.which);
      return loaded === undefined || unload(subject, loaded);
    }
  }
}

/** The stubs (rx) that were retargeted: several can have one target then, and any of them is taken for it. */
const retargeted = new WeakMap<Subject, Set<number>>();

function take(subject: Subject, which: number): boolean {
  const { allocator, model, veneers } = subject;
  if (veneers.length >= LIMIT) veneers.splice(0, LIMIT / 2);
  const target = pick(TARGETS, which) ?? 0;
  const known = veneers.find((veneer) => !veneer.isReleased && veneer.target === target);
  // The pool may know a stub of which the run has dropped all veneers.
  const isNew = known === undefined;
  const isFull = isNew && subject.mustRunOut(STUB_BYTES, "code");
  let taken: Veneer | undefined;
  try {
    taken = allocator.veneer(target);
  } catch (error) {
    assert.ok(error instanceof JitError && error.code === "ERR_OUT_OF_MEMORY" && isFull, String(error));
    return true;
  }
  assert.equal(taken.target, target);
  const isOnlyOne = known !== undefined && retargeted.get(subject)?.has(known.rx) !== true;
  if (isOnlyOne) assert.equal(taken.rx, known.rx, "one stub a target");
  if (model.find(taken.rx) === undefined) model.add(allocator.query(taken.rx), STUB_BYTES, "code", false);
  veneers.push(taken);
  return false;
}

function useVeneer(subject: Subject, { which, action }: Extract<Operation, { kind: "veneer" }>): boolean {
  const { model, veneers } = subject;
  const veneer = pick(veneers, which);
  if (veneer === undefined) return true;
  const allocation = model.find(veneer.rx);
  if (veneer.isReleased) {
    const act = { retarget: () => veneer.retarget(0), release: () => veneer.release() };
    if (action === "dispose" || action === "take") veneer[Symbol.dispose]();
    else assert.throws(act[action], (error) => error instanceof JitError && error.code === "ERR_RELEASED");
    return true;
  }
  assert.ok(allocation, "a live veneer has its stub");
  if (action === "retarget") {
    const target = pick(TARGETS, which >>> 8) ?? 0;
    veneer.retarget(target);
    assert.equal(veneer.target, target);
    const stubs = retargeted.get(subject) ?? new Set();
    retargeted.set(subject, stubs.add(veneer.rx));
    allocation.contents.set(new Uint8Array(BigUint64Array.of(BigInt(target)).buffer), CELL_AT);
    model.checkContents(allocation);
    return false;
  }
  veneer[Symbol.dispose]();
  assert.ok(veneer.isReleased);
  // The last of its stub: the run may have dropped others, so the allocation itself is asked.
  if (allocation.spans[0]?.isReleased === true) model.remove(allocation);
  return false;
}

/** Builds a module; all of it is there afterwards, or nothing. */
function build(subject: Subject, { sizes, which, ending }: Extract<Operation, { kind: "module" }>): boolean {
  const { allocator, model, modules } = subject;
  const before = allocator.statistics();
  const parts = sizes.map((size, index) => ({
    kind: pick(KINDS, which + index) ?? "code",
    size,
    bytes: someBytes(size, (which + index) % 71),
  }));
  let loaded: JitModule | undefined;
  try {
    using builder = allocator.module();
    for (const [index, { kind, size, bytes }] of parts.entries()) {
      const part = builder[kind](index % 2 === 0 ? size : bytes);
      part.bytes.set(bytes);
    }
    if (ending === "tooLarge") builder.data(2 ** 31);
    if (ending === "commit") loaded = builder.commit();
  } catch (error) {
    assert.ok(error instanceof JitError, String(error));
    const roomBytes = parts.reduce((sum, { size }) => sum + size + model.blockUnit + 4096, 0);
    const mayBeFull = before.reservedSize + roomBytes > model.options.maxReservedSize;
    const foreseen = [mayBeFull ? "ERR_OUT_OF_MEMORY" : "", ending === "tooLarge" ? "ERR_TOO_LARGE" : ""];
    assert.ok(foreseen.includes(error.code), error.message);
  }
  if (loaded === undefined) {
    const after = allocator.statistics();
    assert.equal(after.allocationCount, before.allocationCount, "nothing is left of it");
    return true;
  }
  for (const [index, span] of loaded.spans.entries()) {
    const part = parts[index];
    assert.ok(part);
    assert.deepEqual(span.read(0, part.size), part.bytes);
    model.add(allocator.query(span.rx), part.size, part.kind, false).spans.push(span);
  }
  modules.push(loaded);
  if (modules.length > LIMIT) modules.shift();
  return false;
}

function unload({ model }: Subject, loaded: JitModule): boolean {
  const ended = loaded.spans.map((span) => (span.isReleased ? undefined : model.find(span.rx)));
  const isOver = loaded.isReleased;
  try {
    loaded.release();
  } catch (error) {
    assert.ok(isOver && error instanceof JitError && error.code === "ERR_RELEASED", String(error));
    return true;
  }
  assert.equal(isOver, false);
  for (const allocation of ended) if (allocation !== undefined) model.remove(allocation);
  return false;
}
