/** The files that Linux memory reads. The interface is narrow, so that tests can simulate another machine. */
import { builtin } from "../../base/builtins.ts";
import { flagOf, isGranted, refusalOf } from "../../base/platform.ts";

/** A descriptor and the path it leads to. */
export interface OpenFile {
  readonly descriptor: number;
  readonly path: string;
}

/** The parts of the file system that are read. */
export interface SystemFiles {
  /** The whole text of a file, or undefined where it cannot be read. */
  read(path: string): string | undefined;
  /**
   * What would let this process read a file that it may not read; undefined where it may, or where there is no such file.
   * Never throws.
   */
  refusal(path: string): string | undefined;
  /** What would let this process read the variables that name the folder for temporary files; undefined where it may. */
  temporaryRefusal(): string | undefined;
  /** The open descriptors of this process and their paths, as the system writes them; none where it does not say. */
  openFiles(): readonly OpenFile[];
  /** Where temporary files may go, in the order to try them. */
  temporaryDirectories(): readonly string[];
}

const DESCRIPTORS = "/proc/self/fd";

/** The variables that `tmpdir` reads. */
const TEMPORARY_VARIABLES = ["TMPDIR", "TMP", "TEMP"];

/** The real files. */
export const systemFiles: SystemFiles = {
  read(path) {
    if (!isGranted({ name: "read", path })) return undefined;
    try {
      return builtin("node:fs").readFileSync(path, "utf8");
    } catch {
      // Absent, or not for this process to read (a container without /sys, say): the caller has a default.
      return undefined;
    }
  },
  refusal(path) {
    const permission = { name: "read", path } as const;
    if (!isGranted(permission)) return flagOf(permission);
    try {
      builtin("node:fs").readFileSync(path);
      return undefined;
    } catch (error) {
      return refusalOf(error);
    }
  },
  temporaryRefusal() {
    return TEMPORARY_VARIABLES.map((variable) => ({ name: "env", variable }) as const)
      .filter((permission) => !isGranted(permission))
      .map(flagOf)[0];
  },
  openFiles() {
    if (!isGranted({ name: "read", path: DESCRIPTORS })) return [];
    const { readdirSync, readlinkSync } = builtin("node:fs");
    try {
      return readdirSync(DESCRIPTORS).flatMap((name) => {
        try {
          return [{ descriptor: Number(name), path: readlinkSync(`${DESCRIPTORS}/${name}`) }];
        } catch {
          return []; // closed since
        }
      });
    } catch {
      return [];
    }
  },
  temporaryDirectories() {
    // tmpdir() is TMPDIR where it is set. That may be a noexec mount where /tmp is not.
    return [...new Set([ownTemporaryDirectory(), "/tmp"])];
  },
};

function ownTemporaryDirectory(): string {
  if (!TEMPORARY_VARIABLES.every((variable) => isGranted({ name: "env", variable }))) return "/tmp";
  try {
    return builtin("node:os").tmpdir();
  } catch {
    return "/tmp";
  }
}
