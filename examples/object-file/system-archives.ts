/** Where systems keep the archives of their libraries. */
import { existsSync } from "node:fs";
import path from "node:path";

const FOLDERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"];

/** The path of an archive by its name, such as `libz.a`; undefined where it is not installed. */
export function findArchive(name: string): string | undefined {
  return FOLDERS.map((folder) => path.join(folder, name)).find((file) => existsSync(file));
}
