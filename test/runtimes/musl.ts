/**
 * What a program for musl needs to run on Debian, whose C library is glibc: the loader, which Debian has as a package,
 * and the C++ libraries, which it has for glibc only. Those do, with a few functions in front of them that musl lacks
 * (`musl-shim.c`).
 */
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { installDebianPackages, isRunnable, mustRun } from "./commands.ts";

/** Where programs for musl look for it: the path is in each of them. */
const LOADER = "/lib/ld-musl-x86_64.so.1";
/** Where Debian has the libraries, and those that Bun is linked with. */
const LIBRARIES = "/usr/lib/x86_64-linux-gnu";
const LIBRARY_NAMES = ["libstdc++.so.6", "libgcc_s.so.1"];

const root = path.resolve(import.meta.dirname, "../../..");

/**
 * Makes a program, in `folder`, that starts `program` with all that it needs, and returns its path. Installs Debian's
 * packages for it where this process is root. What `program` starts gets the libraries too; they do no harm to others.
 *
 * @throws Error where the machine has not got what it takes; the message says what to install.
 */
export function muslLauncher(program: string, folder: string): string {
  needPackages();
  const libraries = path.join(folder, "libraries");
  rmSync(libraries, { recursive: true, force: true });
  mkdirSync(libraries, { recursive: true });
  for (const name of LIBRARY_NAMES) copyFileSync(path.join(LIBRARIES, name), path.join(libraries, name));
  mustRun("cc", [
    ...["-O1", "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,ld-linux-x86-64.so.2"],
    ...["-o", path.join(libraries, "ld-linux-x86-64.so.2"), path.join(root, "test/runtimes/musl-shim.c")],
  ]);
  const launcher = path.join(folder, "start");
  writeFileSync(launcher, `#!/bin/sh\nLD_LIBRARY_PATH=${quote(libraries)} exec ${quote(program)} "$@"\n`, {
    mode: 0o755,
  });
  mustRun(launcher, ["--version"]);
  return launcher;
}

function needPackages(): void {
  const packages = [...(existsSync(LOADER) ? [] : ["musl"]), ...(isRunnable("cc") ? [] : ["gcc"])];
  if (packages.length > 0) installDebianPackages(packages);
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
