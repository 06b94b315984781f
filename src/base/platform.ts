/**
 * The only reader of the runtime's name, `process.platform` and `process.arch`.
 * Everything that depends on where the program runs is decided here, once, by what these constants say.
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
  /** What each was told by, for people. */
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

/** What a runtime may keep from a program. */
export type Permission =
  { readonly name: "read"; readonly path: string } | { readonly name: "env"; readonly variable: string };

/**
 * Whether something may be looked at without the user being asked: on a terminal, Deno stops the program and asks. Other
 * runtimes ask nobody; what they refuse they throw. Never throws.
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

/** Where this program runs, found out once. */
export const platform: Platform = detect();
