/** The files that Linux memory reads: a narrow interface, so that tests can show it another machine. */
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { isGranted } from "../../base/platform.ts";

/** A descriptor and what it leads to. */
export interface OpenFile {
  readonly descriptor: number;
  readonly path: string;
}

/** What of the file system is read. */
export interface SystemFiles {
  /** The whole text of a file, or undefined where it cannot be read. */
  read(path: string): string | undefined;
  /** What the descriptors of this process lead to, as the system writes it; none where it does not say. */
  openFiles(): readonly OpenFile[];
  /** Where temporary files may go, in the order to try them. */
  temporaryDirectories(): readonly string[];
}

const DESCRIPTORS = "/proc/self/fd";

/** What `tmpdir` looks at. */
const TEMPORARY_VARIABLES = ["TMPDIR", "TMP", "TEMP"];

/** The real ones. */
export const systemFiles: SystemFiles = {
  read(path) {
    if (!isGranted({ name: "read", path })) return undefined;
    try {
      return readFileSync(path, "utf8");
    } catch {
      // Absent, or not for this process to read (a container without /sys, say): the caller has a default.
      return undefined;
    }
  },
  openFiles() {
    if (!isGranted({ name: "read", path: DESCRIPTORS })) return [];
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
    // tmpdir() is TMPDIR where it is set. It may be a noexec mount, and /tmp none.
    return [...new Set([ownTemporaryDirectory(), "/tmp"])];
  },
};

function ownTemporaryDirectory(): string {
  if (!TEMPORARY_VARIABLES.every((variable) => isGranted({ name: "env", variable }))) return "/tmp";
  try {
    return tmpdir();
  } catch {
    return "/tmp";
  }
}
