/**
 * Tells subscribers of `node:diagnostics_channel` of the rare events. Where nobody listens, an event costs the question
 * whether somebody does.
 *
 * A message is delivered in a microtask: whoever tells may be in the middle of an operation, and hold a lock, while a
 * subscriber may use the allocator.
 */
import { builtin } from "./builtins.ts";

/** The channels of `node:diagnostics_channel` that this library publishes to, and the messages of each. Sizes are bytes. */
export interface JitDiagnostics {
  /** A block was mapped. */
  "jit-allocator:block-mapped": DiagnosticBlock;
  /** A block was unmapped. */
  "jit-allocator:block-unmapped": DiagnosticBlock;
  /** An operation was refused. */
  "jit-allocator:refused": {
    /** The JitError, which the program may catch. */
    readonly error: Error;
  };
  /** An allocator was reset. */
  "jit-allocator:reset": {
    /** How much was unmapped. */
    readonly policy: "soft" | "hard";
  };
  /** A runtime has added code. */
  "jit-allocator:runtime-add": {
    /** The address at which it begins. */
    readonly rx: number;
    /** Bytes of code. */
    readonly size: number;
    /** The name that it was given. */
    readonly name: string | undefined;
  };
  /** A runtime has released code. */
  "jit-allocator:runtime-release": {
    /** The address at which it began. */
    readonly rx: number;
    /** The name that it had. */
    readonly name: string | undefined;
  };
}

/** A block, as diagnostics tell of it. */
export interface DiagnosticBlock {
  /** The address of the executable view. */
  readonly rx: number;
  /** The address of the writable view. */
  readonly rw: number;
  /** Bytes. */
  readonly size: number;
  /** What its memory is for. */
  readonly kind: "code" | "constants" | "data";
}

const { channel } = builtin("node:diagnostics_channel");

const channels = {
  "jit-allocator:block-mapped": channel("jit-allocator:block-mapped"),
  "jit-allocator:block-unmapped": channel("jit-allocator:block-unmapped"),
  "jit-allocator:refused": channel("jit-allocator:refused"),
  "jit-allocator:reset": channel("jit-allocator:reset"),
  "jit-allocator:runtime-add": channel("jit-allocator:runtime-add"),
  "jit-allocator:runtime-release": channel("jit-allocator:runtime-release"),
} satisfies Record<keyof JitDiagnostics, unknown>;

const { queueMicrotask } = globalThis;

let isQuiet = false;
let areRefusalsHeld = false;

/**
 * A channel, to ask whether anybody listens: for those who would have to find out what there is to tell, and for operations
 * that take so little time that making a message counts, even one that is not sent.
 */
export function channelOf(name: keyof JitDiagnostics): { readonly hasSubscribers: boolean } {
  return channels[name];
}

/** Tells whoever listens, soon. Never throws. */
export function tell<Name extends keyof JitDiagnostics>(
  name: Name,
  message: () => JitDiagnostics[Name],
): void {
  const listened = channels[name];
  if (!listened.hasSubscribers || isQuiet) return;
  if (areRefusalsHeld && name === "jit-allocator:refused") return;
  try {
    const told = message();
    queueMicrotask(() => listened.publish(told));
  } catch {
    // No memory, or no stack. The operation that is told of has succeeded.
  }
}

/** Runs what asks by trying: its refusals are no news. */
export function quietly<Result>(act: () => Result): Result {
  const wasQuiet = isQuiet;
  isQuiet = true;
  try {
    return act();
  } finally {
    isQuiet = wasQuiet;
  }
}

/**
 * Runs an attempt that is not the last one: its refusals are no news as long as there is another way. Whoever throws one of
 * them after all tells of it (`tellHeld`).
 */
export function holdRefusals<Result>(act: () => Result): Result {
  const wereHeld = areRefusalsHeld;
  areRefusalsHeld = true;
  try {
    return act();
  } finally {
    areRefusalsHeld = wereHeld;
  }
}
