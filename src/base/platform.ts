/**
 * Detects the runtime, the system and the processor, once. No other file reads the runtime's name, `process.platform`
 * or `process.arch`.
 */

/** The JavaScript runtimes this library knows. */
export type RuntimeName = "node" | "bun" | "deno";
/** The operating systems this library knows; anything else is `other`. */
export type SystemName = "linux" | "darwin" | "windows" | "other";
/** The processors this library knows; anything else is `other`. */
export type ProcessorName = "x64" | "arm64" | "other";

/** Where this program runs. */
export interface Platform {
  readonly runtime: RuntimeName;
  readonly runtimeVersion: string;
  readonly system: SystemName;
  readonly processor: ProcessorName;
  /** Whether the process was started to write a CPU profile (`--cpu-prof`, `--prof`), on its command line or by NODE_OPTIONS. */
  readonly isProfiled: boolean;
  /** The fact by which each was detected, for people. */
  readonly evidence: { readonly runtime: string; readonly system: string; readonly processor: string };
}

function detect(): Platform {
  const versions = process.versions;
  const runtime = versions["bun"] !== undefined ? "bun" : versions["deno"] !== undefined ? "deno" : "node";
  const system =
    process.platform === "linux" || process.platform === "android"
      ? "linux"
      : process.platform === "darwin"
        ? "darwin"
        : process.platform === "win32"
          ? "windows"
          : "other";
  const processor = process.arch === "x64" ? "x64" : process.arch === "arm64" ? "arm64" : "other";
  return {
    runtime,
    runtimeVersion: versions[runtime] ?? "unknown",
    system,
    processor,
    isProfiled: isProfiled(runtime),
    evidence: {
      runtime:
        runtime === "node"
          ? "process.versions names neither Bun nor Deno"
          : `process.versions has ${JSON.stringify(runtime)}`,
      system: `process.platform is ${JSON.stringify(process.platform)}`,
      processor: `process.arch is ${JSON.stringify(process.arch)}`,
    },
  };
}

function isProfiled(runtime: RuntimeName): boolean {
  // Deno would ask the user for the variable, and has no such flag.
  const fromEnvironment = runtime === "deno" ? "" : (process.env["NODE_OPTIONS"] ?? "");
  // No pattern: the first ones of a program take tenths of a millisecond of its start.
  const flags = [...process.execArgv, ...fromEnvironment.split(" ")];
  return flags.includes("--prof") || flags.includes("--cpu-prof");
}

/** A permission that a runtime may withhold from a program. */
export type Permission =
  | { readonly name: "read"; readonly path: string }
  | { readonly name: "env"; readonly variable: string }
  | { readonly name: "sys"; readonly kind: "osRelease" }
  | { readonly name: "ffi" };

/**
 * Whether a permission is granted already, so that using it does not prompt the user: on a terminal, Deno stops the program
 * and asks. True on other runtimes, which never ask and throw where they refuse. Never throws.
 */
export function isGranted(permission: Permission): boolean {
  if (platform.runtime !== "deno") return true;
  try {
    const { permissions } = Reflect.get(globalThis, "Deno") as {
      permissions: { querySync(permission: Permission): { readonly state: string } };
    };
    return permissions.querySync(permission).state === "granted";
  } catch {
    return false;
  }
}

/** Folders whose files Deno opens only for programs with all permissions. */
const SPECIAL_FOLDERS = /^\/(?:proc|sys|dev)\//;

/** The flag of the runtime that grants a permission: to name it where {@link isGranted} returned false. */
export function flagOf(permission: Permission): string {
  if (permission.name !== "read") return `--allow-${permission.name}`;
  return SPECIAL_FOLDERS.test(permission.path) ? "--allow-all" : "--allow-read";
}

/**
 * The remedy for an error that refused a permission: a flag of the runtime, or other rights in the system. Undefined where
 * the error is no such refusal. Never throws.
 */
export function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = "code" in error ? error.code : undefined;
  if (error.name === "NotCapable" || code === "ERR_ACCESS_DENIED") {
    // Node 20 names no flag. Only reads of files are refused there, since this library asks Node for nothing else.
    return /--allow-[a-z-]+/.exec(error.message)?.[0] ?? "--allow-fs-read";
  }
  return code === "EACCES" || code === "EPERM" ? `the rights of another user (${code})` : undefined;
}

/** The text shown instead of an answer. @param allowing the text that {@link refusalOf} or {@link flagOf} returned */
export function notAllowed(allowing: string): string {
  return `unknown: not allowed to ask; ${allowing} would allow it`;
}

/** Where this program runs, detected once. */
export const platform: Platform = detect();
