import { tell } from "./diagnostics.ts";

/** Why an operation was refused. docs/errors.md has the table. */
export type JitErrorCode =
  | "ERR_INVALID_ARGUMENT"
  | "ERR_TOO_LARGE"
  | "ERR_OUT_OF_MEMORY"
  | "ERR_UNKNOWN_ADDRESS"
  | "ERR_NOT_ALLOCATED"
  | "ERR_INTERIOR_ADDRESS"
  | "ERR_RELEASED"
  | "ERR_DISPOSED"
  | "ERR_FEATURE_NOT_ENABLED"
  | "ERR_PERMISSION"
  | "ERR_TOO_MANY_HANDLES"
  | "ERR_OUT_OF_REACH"
  | "ERR_UNKNOWN_SYMBOL";

/** The details of a refusal by the operating system. */
export interface SystemFailure {
  /** The native call that failed, for example `mmap`. */
  readonly syscall?: string | undefined;
  /** The error number of the failed call: errno, or GetLastError() on Windows. */
  readonly errno?: number | undefined;
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/** A {@link JitError} as JSON. */
export interface JitErrorJson {
  /** Always `JitError`. */
  readonly name: string;
  /** {@link JitError.code} */
  readonly code: JitErrorCode;
  /** The message, for people. */
  readonly message: string;
  /** {@link JitError.syscall} */
  readonly syscall?: string;
  /** {@link JitError.errno} */
  readonly errno?: number;
  /** The name and the message of the error that led to this one. */
  readonly cause?: string;
}

/**
 * The one error class of this library. A call that throws it has changed nothing, unless its documentation says otherwise.
 *
 * @example
 * ```ts
 * try { allocator.release(0x1234) } catch (error) {
 *   if (error instanceof JitError && error.code === "ERR_UNKNOWN_ADDRESS") { … }
 * }
 * ```
 */
export class JitError extends Error {
  /** The stable name of the reason; the message is for people and may change. */
  readonly code: JitErrorCode;
  /** The native call that failed, for example `mmap`, where the system refused. */
  declare readonly syscall?: string;
  /** The error number of that call: errno, or GetLastError() on Windows. */
  declare readonly errno?: number;

  constructor(code: JitErrorCode, message: string, failure?: SystemFailure) {
    super(message, failure?.cause === undefined ? undefined : { cause: failure.cause });
    this.name = "JitError";
    this.code = code;
    if (failure?.syscall !== undefined) this.syscall = failure.syscall;
    if (failure?.errno !== undefined) this.errno = failure.errno;
    tell("jit-allocator:refused", () => ({ error: this }));
  }

  /**
   * The error as `JSON.stringify` writes it, including the message, which it leaves out of other errors. `cause` is the name
   * and the message of the error that led to this one. Leaves out the stack, which has paths of this machine. Never throws.
   */
  toJSON(): JitErrorJson {
    return {
      name: this.name,
      code: this.code,
      message: this.message,
      ...(this.syscall === undefined ? undefined : { syscall: this.syscall }),
      ...(this.errno === undefined ? undefined : { errno: this.errno }),
      ...(this.cause === undefined ? undefined : { cause: textOf(this.cause) }),
    };
  }
}

/** Tells of a refusal that was held back, since it reaches the program after all. Returns the error. */
export function tellHeld(error: unknown): unknown {
  if (error instanceof JitError) tell("jit-allocator:refused", () => ({ error }));
  return error;
}

/** The name and message of an error; other values as {@link describe} shows them. Never throws. */
function textOf(cause: unknown): string {
  try {
    if (cause instanceof Error) return `${cause.name}: ${cause.message}`;
  } catch {
    // Another program's error, whose getters throw.
  }
  return describe(cause);
}

/** `0x7f12_0040_1010`: an address as every message of this library writes it. */
export function formatAddress(address: number): string {
  if (!Number.isSafeInteger(address) || address < 0) return String(address);
  const digits = address.toString(16);
  const padded = digits.padStart(Math.ceil(digits.length / 4) * 4, "0");
  return `0x${padded.replace(/(?<=.)(?=(?:.{4})+$)/g, "_")}`;
}

/** A value as a message shows it. Runs no code of the value's own. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
    case "bigint":
      return `${value}n`;
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "symbol":
      return "a symbol";
    case "function":
      return "a function";
    case "object":
      return value === null ? "null" : "an object";
    default:
      return String(value);
  }
}
