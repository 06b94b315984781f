/** The version of the package, and what it runs on. */
import { systemFfi } from "../ffi/select.ts";
import { isGranted, platform } from "../base/platform.ts";

/**
 * The version of the package. Written out, because a process may not be allowed to read package.json; a test compares the
 * two.
 */
export const VERSION = "0.1.0";

/** What `--version --json` prints. */
export interface Versions {
  readonly version: string;
  readonly runtime: { readonly name: string; readonly version: string };
  /** What calls native code; null where nothing does. */
  readonly ffi: { readonly name: string; readonly version: string } | null;
  readonly system: string;
  readonly processor: string;
}

/** The versions of all that a report of a fault needs. Never throws. */
export function versions(): Versions {
  const { runtime, runtimeVersion, system, processor } = platform;
  return {
    ...{ version: VERSION, runtime: { name: runtime, version: runtimeVersion }, ffi: versionOfFfi() },
    ...{ system, processor },
  };
}

/** `0.1.0 (node 20.20.2, koffi 3.3.4, linux x64)` */
export function describeVersions({ version, runtime, ffi, system, processor }: Versions): string {
  const calls = ffi === null ? "no native calls (see doctor)" : `${ffi.name} ${ffi.version}`;
  return `${version} (${runtime.name} ${runtime.version}, ${calls}, ${system} ${processor})`;
}

function versionOfFfi(): Versions["ffi"] {
  if (!isGranted({ name: "ffi" })) return null; // a version is not worth a question to the user
  try {
    const { name, version } = systemFfi();
    return { name, version };
  } catch {
    // Why there is none, `doctor` says.
    return null;
  }
}
