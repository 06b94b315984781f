/** Shared libraries from C++, by g++. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";

/** Compiles a source into a shared library in a folder; returns its path. */
export function compileLibrary(folder: string, text: string): string {
  writeFileSync(path.join(folder, "made.cc"), text);
  const made = path.join(folder, "made.so");
  const { status, stderr } = spawnSync("g++", ["-O1", "-shared", "-fPIC", "-o", made, "made.cc"], {
    cwd: folder,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`g++ refuses: ${stderr}`);
  return made;
}
