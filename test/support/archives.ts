/** The archives of real libraries that tests link, from Debian's packages. */
import { existsSync } from "node:fs";
import { findArchive } from "../../examples/object-file/system-archives.ts";
import { needs } from "./requirements.ts";
import { installDebianPackages } from "../runtimes/commands.ts";

/** An archive, or why it is not there. */
export interface FoundArchive {
  readonly file: string;
  /** The `skip` of node:test. */
  readonly skip: string | false;
}

/**
 * Finds an archive; as root on Debian it installs the package, once.
 * @param name `libz.a`
 * @param debianPackage the package that has it
 */
export function archiveOf(name: string, debianPackage: string): FoundArchive {
  const skip = needs("linux", "systemV", "glibc");
  if (skip !== false) return { file: "", skip };
  const isInstallable = process.getuid?.() === 0 && existsSync("/etc/debian_version");
  if (findArchive(name) === undefined && isInstallable) installDebianPackages([debianPackage]);
  const file = findArchive(name);
  if (file !== undefined) return { file, skip: false };
  return { file: "", skip: `${name} is not installed; on Debian: apt-get install ${debianPackage}` };
}
