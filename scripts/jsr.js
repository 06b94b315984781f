/**
 * Makes the folder that is published on JSR, `dist/jsr/`, of the bundle: `node scripts/jsr.js [FOLDER]`, after
 * `npm run build:release`. JSR takes no declarations that ask for a library of the compiler; Deno, for which JSR is, has
 * that one anyway.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const bundle = path.join(root, "dist/package");
const target = path.resolve(process.argv[2] ?? path.join(root, "dist/jsr"));

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
for (const file of ["jsr.json", "README.md", "LICENSE"])
  cpSync(path.join(root, file), path.join(target, file));
cpSync(path.join(bundle, "index.js"), path.join(target, "index.js"));

const types = readFileSync(path.join(bundle, "index.d.ts"), "utf8");
const accepted = types.replace(/^\/\/\/ <reference lib="esnext\.disposable" \/>\n/m, "");
if (accepted === types)
  throw new Error("index.d.ts asks for no library: this script has nothing to do any more");
writeFileSync(path.join(target, "index.d.ts"), accepted);
