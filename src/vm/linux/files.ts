/** The files that Linux memory reads: a narrow interface, so that tests can show it another machine. */
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";

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

/** The real ones. */
export const systemFiles: SystemFiles = {
  read(path) {
    try {
      return readFileSync(path, "utf8");
    } catch {
      // Absent, or not for this process to read (a container without /sys, say): the caller has a default.
      return undefined;
    }
  },
  openFiles() {
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
  try {
    return tmpdir();
  } catch {
    // Deno does not let a program without --allow-env see TMPDIR.
    return "/tmp";
  }
}
