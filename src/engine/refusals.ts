/** The errors of the allocator. Each message says what was asked, what stood in the way and, if any, the way out. */
import { holdRefusals } from "../base/diagnostics.ts";
import { JitError, describe, formatAddress, tellHeld } from "../base/errors.ts";
import type { JitErrorCode } from "../base/errors.ts";

/** Whether a value is an integer that can be an offset, a length or an address. */
export function isIndex(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

export function refuseSize(size: unknown, largestSize: number): JitError {
  return typeof size === "number" && Number.isInteger(size) && size > 0
    ? new JitError(
        "ERR_TOO_LARGE",
        `Cannot allocate ${size} bytes: a single allocation has at most ${largestSize} bytes`,
      )
    : new JitError(
        "ERR_INVALID_ARGUMENT",
        typeof size === "number"
          ? `Cannot allocate ${describe(size)} bytes: a size must be an integer above 0`
          : `Cannot allocate: a size must be an integer above 0, and is ${describe(size)}`,
      );
}

export function refuseNewSize(newSize: unknown, size: number): JitError {
  return new JitError(
    "ERR_INVALID_ARGUMENT",
    `Cannot shrink ${size} bytes to ${describe(newSize)}: the new size must be an integer from 0 to ${size}`,
  );
}

/** A new block would exceed `maxReservedSize`. */
export function outOfLimit(
  size: number,
  reservedBytes: number,
  maxReservedSize: number,
  reserveBytes: number,
): JitError {
  const kept =
    reserveBytes === 0
      ? ""
      : `, and ${reserveBytes} of these are the reserve for what must succeed (reserveForMustSucceed)`;
  return new JitError(
    "ERR_OUT_OF_MEMORY",
    `Cannot allocate ${size} bytes: ${reservedBytes} bytes are reserved${kept}, and the block this needs would pass ` +
      `maxReservedSize (${maxReservedSize}); release code, or raise the limit`,
  );
}

/**
 * Neither the allocator nor its reserve has room for what must succeed.
 * @param reserveBytes bytes of the reserve; 0 = the allocator has none
 */
export function outOfReserve(size: number, reserveBytes: number, cause: JitError): JitError {
  const { message, syscall, errno } = cause;
  const reserve =
    reserveBytes === 0
      ? "there is no reserve for what must succeed (pass `reserveForMustSucceed`)"
      : `the reserve of ${reserveBytes} bytes (reserveForMustSucceed) has no room for them either`;
  return new JitError("ERR_OUT_OF_MEMORY", `Cannot allocate ${size} bytes: ${reserve}. ${message}`, {
    cause,
    ...(syscall !== undefined && { syscall }),
    ...(errno !== undefined && { errno }),
  });
}

/** The codes of refusals that have nothing to do with what was asked: there is no room, or the system gives none. */
const SHORTAGES: ReadonlySet<string> = new Set<JitErrorCode>([
  "ERR_OUT_OF_MEMORY",
  "ERR_PERMISSION",
  "ERR_TOO_MANY_HANDLES",
  "ERR_FEATURE_NOT_ENABLED",
]);

/** Whether an allocation was refused for lack of memory, so that a reserve may still have some. */
function isShortage(error: unknown): error is JitError {
  return error instanceof JitError && SHORTAGES.has(error.code);
}

/** Allocates; where there is no memory for that, in another way, whose refusal is the one that is told. */
export function orElse<Made>(allocate: () => Made, otherwise: (refusal: JitError) => Made): Made {
  try {
    return holdRefusals(allocate);
  } catch (error) {
    if (!isShortage(error)) throw tellHeld(error);
    return otherwise(error);
  }
}

/** Whether an allocation may take the reserve. @throws JitError `ERR_INVALID_ARGUMENT` for what is no boolean */
export function checkMustSucceed(action: string, mustSucceed: unknown): boolean {
  if (mustSucceed === undefined || typeof mustSucceed === "boolean") return mustSucceed === true;
  throw refuseValue(`${action} with mustSucceed`, mustSucceed, "it is true or false");
}

/** Only code has a reserve. */
export function refuseReserveOf(kind: string): JitError {
  return new JitError(
    "ERR_INVALID_ARGUMENT",
    `Cannot allocate ${kind} that must succeed: the reserve is memory for code; leave \`mustSucceed\` out`,
  );
}

/** No stretch of the range is long enough for a block. */
export function outOfRange(sizeBytes: number, largestBytes: number): JitError {
  return new JitError(
    "ERR_OUT_OF_MEMORY",
    `Cannot map a block of ${sizeBytes} bytes: the longest free stretch of the range has ${largestBytes}; release code, ` +
      "allow the process more addresses (RLIMIT_AS, ulimit -v), or pass `useRange: false`",
  );
}

/** Why there is no range on a system that offers none. */
export const NO_RANGES = "this system offers no ranges";

/** Blocks were to be sealed, and the system does not do that. */
export function cannotSeal(reason: string): JitError {
  return new JitError(
    "ERR_FEATURE_NOT_ENABLED",
    `Cannot seal blocks: ${reason}; leave \`sealed\` out, and blocks are as safe as docs/security.md says without it`,
  );
}

/** Writable views were to be closed, and cannot be. */
export function cannotProtect(reason: string): JitError {
  return new JitError(
    "ERR_FEATURE_NOT_ENABLED",
    `Cannot protect writes by keys: ${reason}; leave \`protectWrites\` out, and blocks are as safe as docs/security.md says without it`,
  );
}

/** Constants or data were asked of an allocator that seals its blocks: sealed is one stretch, which has one access. */
export function sealedKind(): JitError {
  return new JitError(
    "ERR_INVALID_ARGUMENT",
    "Cannot allocate constants or data: an allocator with `sealed` has code alone; make another one for them, with `near` in " +
      "the range of the first",
  );
}

/** The allocator was to lie near an address, and there is no range to lie there. */
export function noRangeNear(near: number, reason: string): JitError {
  return new JitError(
    "ERR_FEATURE_NOT_ENABLED",
    `Cannot reserve a range near ${formatAddress(near)}: ${reason}; leave \`near\` out, and call through a register`,
  );
}

/** The system has no addresses for a SharedArrayBuffer. */
export function outOfAddresses(action: string, maxReservedSize: number, cause: RangeError): JitError {
  return new JitError(
    "ERR_OUT_OF_MEMORY",
    `Cannot ${action}: the system has no addresses for the metadata of ${maxReservedSize} bytes of code; ` +
      "pass a smaller maxReservedSize, or raise the limit of addresses (RLIMIT_AS, ulimit -v)",
    { cause },
  );
}

/** The shared buffer cannot grow. */
/** @param limitBytes the most metadata allowed, where that is the reason; 0 where the system had no memory */
export function outOfMetadata(size: number, limitBytes: number): JitError {
  const reason =
    limitBytes === 0
      ? "the system has no memory for the allocator's metadata"
      : `the allocator's metadata has its limit at ${limitBytes} bytes, and allocations by allocAddress take less of it`;
  return new JitError("ERR_OUT_OF_MEMORY", `Cannot keep track of ${size} more bytes: ${reason}`);
}

/** Every batch of generations has a live allocation, so the threads that share have none left for new allocations. */
export function outOfGenerations(): JitError {
  return new JitError(
    "ERR_OUT_OF_MEMORY",
    "Cannot allocate: something is live of every 4,096 allocations that ever were; release what was made long ago",
  );
}

/** A module of a shared allocator has as many parts as it can. */
export function outOfParts(): JitError {
  return new JitError(
    "ERR_TOO_LARGE",
    "Cannot add to a module: in a shared allocator it has at most 4,096 parts; put several pieces into one part",
  );
}

/** All member numbers belong to threads that still share the allocator. */
export function outOfNumbers(): JitError {
  return new JitError(
    "ERR_OUT_OF_MEMORY",
    "Cannot attach: 1,023 threads have this allocator at this moment, which is as many as can; detach one of them",
  );
}

/** The allocations of a member whose thread still shares the allocator cannot be adopted. */
export function refuseHeir(member: number): JitError {
  return new JitError(
    "ERR_INVALID_ARGUMENT",
    `Cannot adopt from member ${member}: its thread has not ended, nor has it detached`,
  );
}

/** The system refused some of many releases. @param first the error of the first one that it refused */
export function outOfReleases(released: number, wanted: number, first: JitError): JitError {
  const { code, message, syscall, errno } = first;
  return new JitError(
    code,
    `Released ${released} of ${wanted} allocations, call again for the rest: ${message}`,
    {
      cause: first,
      ...(syscall !== undefined && { syscall }),
      ...(errno !== undefined && { errno }),
    },
  );
}

export function outOfCopies(action: string, size: number): JitError {
  return new JitError(
    "ERR_OUT_OF_MEMORY",
    `Cannot ${action} ${size} bytes: there is no memory for a copy of them`,
  );
}

export function refuseValue(action: string, value: unknown, wanted: string): JitError {
  return new JitError("ERR_INVALID_ARGUMENT", `Cannot ${action} ${describe(value)}: ${wanted}`);
}

/** The target is no span. */
export function refuseTarget(action: string, target: unknown): JitError {
  return refuseValue(
    action,
    target,
    TAKES_ADDRESSES.has(action)
      ? "the target must be a Span, or its address as a number"
      : "the target must be a Span; query(address) makes one of an address",
  );
}

/** The actions whose target may be an address too. */
const TAKES_ADDRESSES: ReadonlySet<string> = new Set(["release", "shrink"]);

/** Both ways to write, because both have the same refusal. */
const RIGHT_WRITES = "span.write(0, bytes) or allocator.write(span, 0, bytes)";

/** The bytes are no Uint8Array. Most often the offset was left out, or comes second. */
export function refuseBytes(offset: unknown, bytes: unknown): JitError {
  const hint =
    typeof offset === "function"
      ? "a span's write takes no callback; pass it to allocator.write(span, callback)"
      : typeof offset === "object" && offset !== null
        ? `the offset comes before the bytes, as in ${RIGHT_WRITES}`
        : offset === undefined && bytes === undefined
          ? `offset and bytes are missing, as in ${RIGHT_WRITES}`
          : undefined;
  return hint === undefined
    ? refuseValue("write", bytes, "the bytes must be a Uint8Array")
    : new JitError("ERR_INVALID_ARGUMENT", `Cannot write: ${hint}`);
}

export function refuseLostBytes(bytes: unknown): JitError {
  return refuseValue("write", bytes, "its buffer is detached, or was made shorter");
}

export function refuseAddress(action: string, value: unknown): JitError {
  return refuseValue(action, value, "an address is an integer from 0 to 2**53 - 1, as span.rx is");
}

export function refuseUnknownAddress(action: string, address: number): JitError {
  return new JitError(
    "ERR_UNKNOWN_ADDRESS",
    `Cannot ${action} ${formatAddress(address)}: no block of this allocator holds it; pass the rx address of an allocation`,
  );
}

export function refuseFreeAddress(action: string, address: number): JitError {
  return new JitError(
    "ERR_NOT_ALLOCATED",
    `Cannot ${action} ${formatAddress(address)}: nothing is allocated there; it was released before, or never handed out`,
  );
}

export function refuseInterior(action: string, address: number, start: number, size: number): JitError {
  return new JitError(
    "ERR_INTERIOR_ADDRESS",
    `Cannot ${action} ${formatAddress(address)}: it lies inside the allocation at ${formatAddress(start)} ` +
      `(${size} bytes); pass the start of the allocation`,
  );
}

export function refuseStranger(action: string, rx: number): JitError {
  return new JitError(
    "ERR_UNKNOWN_ADDRESS",
    `Cannot ${action} the span at ${formatAddress(rx)}: it belongs to another allocator`,
  );
}

export function refuseReleased(action: string, rx: number): JitError {
  return new JitError(
    "ERR_RELEASED",
    `Cannot ${action} the code at ${formatAddress(rx)}: it was released, or its allocator was reset or disposed`,
  );
}

/** A span has been shrunk so far that the code at `offset` is no longer in it. Sizes in bytes. */
export function refuseEntry(rx: number, offset: number, size: number): JitError {
  return new JitError(
    "ERR_RELEASED",
    `Cannot call the code at ${formatAddress(rx)} + ${offset}: the span was shrunk to ${size} bytes`,
  );
}

/** The span was looked up by an address inside of it, and a call of it would begin at its start. */
export function refuseLookUp(rx: number, offset: number): JitError {
  return new JitError(
    "ERR_INTERIOR_ADDRESS",
    `Cannot call the code at ${formatAddress(rx + offset)}: query gave the whole span, and it begins at ${formatAddress(rx)}; ` +
      `pass { offset: ${offset} } for the code at that address, or { offset: 0 } for the code at the start`,
  );
}

export function refuseDisposed(action: string): JitError {
  return new JitError("ERR_DISPOSED", `Cannot ${action}: the allocator has been disposed; make another one`);
}

/** This thread has detached from the allocator, which others may go on using. */
export function refuseDetached(action: string): JitError {
  return new JitError(
    "ERR_DISPOSED",
    `Cannot ${action}: this thread has detached from the allocator; attach to its handle again`,
  );
}

/** The policy of a reset that a caller named. @throws JitError `ERR_INVALID_ARGUMENT` where there is none of that name */
export function checkResetPolicy(policy: unknown): "soft" | "hard" {
  if (policy === "soft" || policy === "hard") return policy;
  throw refuseValue("reset with policy", policy, 'the policy is "soft" or "hard"');
}

/** Whether statistics are wanted in detail. @throws JitError `ERR_INVALID_ARGUMENT` for what are no options */
export function checkDetail(options: unknown): boolean {
  if (options === undefined) return false;
  const wanted = "the options are an object: { detail: true }";
  if (typeof options !== "object" || options === null) throw refuseValue("count with", options, wanted);
  const { detail } = options as { detail?: unknown };
  if (detail === undefined || typeof detail === "boolean") return detail === true;
  throw refuseValue("count with the detail", detail, wanted);
}

/** An allocator that is not shared has nobody else who could dispose of it. */
export function unsharedCannotDetach(): JitError {
  return new JitError(
    "ERR_INVALID_ARGUMENT",
    "Cannot detach: the allocator is not shared, and nobody could dispose of it; call dispose()",
  );
}

export function refuseRange(action: string, offset: unknown, length: unknown, size: number): JitError {
  const wrong = !isIndex(offset) ? ["offset", offset] : !isIndex(length) ? ["length", length] : undefined;
  return new JitError(
    "ERR_INVALID_ARGUMENT",
    wrong === undefined
      ? `Cannot ${action} ${describe(length)} byte${length === 1 ? "" : "s"} at offset ${describe(offset)}: the span has ${size}`
      : `Cannot ${action}: the ${String(wrong[0])} must be an integer from 0 on, and is ${describe(wrong[1])}`,
  );
}

/** The error for what is no token, although it has the fields of one. */
export function refuseToken(rx: unknown): JitError {
  return refuseValue("look up", rx, "the token must be one that a span gave");
}

/** The memory is not of the kind that this can be done with. */
export function refuseKind(action: string, kind: string, reason: string): JitError {
  return new JitError("ERR_INVALID_ARGUMENT", `Cannot ${action} a span of ${kind}: ${reason}`);
}
