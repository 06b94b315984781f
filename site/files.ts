/** Where things lie, by their paths in the repository. */
import { readdirSync } from "node:fs";
import path from "node:path";

/** What typedoc writes. */
export const API_PAGES = "dist/api";
export const API_JSON = "dist/api.json";

/** The pages as VitePress reads them. */
export const STAGED_PAGES = "dist/www-pages";

/** The site: a folder to be served as it is. */
export const BUILT_SITE = "dist/www";

/** The files in a folder and its folders, by their paths from `root`. */
export function filesBelow(root: string, folder: string): readonly string[] {
  return readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)).split(path.sep).join("/"))
    .sort();
}
