/** Object files and archives from C, by gcc and ar. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

function mustRun(folder: string, command: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} refuses: ${stderr}`);
}

/**
 * Compiles each source, and puts the objects into an archive in their order.
 * @param sources the text by the name: `add.c` becomes `add.o`
 */
export function compileArchive(
  sources: Readonly<Record<string, string>>,
  flags: readonly string[] = ["-O2"],
): Uint8Array {
  const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-archive-"));
  try {
    for (const [name, text] of Object.entries(sources)) writeFileSync(path.join(folder, name), text);
    mustRun(folder, "gcc", [...flags, "-c", ...Object.keys(sources)]);
    const objects = Object.keys(sources).map((name) => name.replace(/\.\w+$/, ".o"));
    mustRun(folder, "ar", ["rcs", "made.a", ...objects]);
    return new Uint8Array(readFileSync(path.join(folder, "made.a")));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Compiles one source into an object file. */
export function compileObject(text: string, flags: readonly string[] = ["-O2"]): Uint8Array {
  const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-object-"));
  try {
    writeFileSync(path.join(folder, "made.c"), text);
    mustRun(folder, "gcc", [...flags, "-c", "made.c"]);
    return new Uint8Array(readFileSync(path.join(folder, "made.o")));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
