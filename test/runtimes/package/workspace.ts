/** Where the package is tried: the packed file, empty projects, and tools that are fetched for it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Skip } from "./trials.ts";

export const root = path.resolve(import.meta.dirname, "../../../..");
/** Emptied when the process ends. */
export const workspace = mkdtempSync(path.join(tmpdir(), "jit-allocator-package-"));
process.on("exit", () => rmSync(workspace, { recursive: true, force: true }));

const npmProgram =
  process.env["npm_execpath"] ?? path.resolve(process.execPath, "../../lib/node_modules/npm/bin/npm-cli.js");

/** How a program ended. */
export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let errorFiles = 0;

/** Runs a program to its end. */
export async function end(folder: string, program: string, ...args: readonly string[]): Promise<Ended> {
  // A file: Node writes the line of an uncaught error first, 250 KB in a minified bundle, and drops what a full pipe refuses.
  errorFiles += 1;
  const errors = path.join(workspace, `errors-${errorFiles}`);
  const errorFile = openSync(errors, "w");
  const child = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, ...registries },
    stdio: ["ignore", "pipe", errorFile],
  });
  closeSync(errorFile);
  let stdout = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  const [status] = (await once(child, "close")) as [number | null];
  const stderr = readFileSync(errors, "utf8");
  rmSync(errors);
  return { status, stdout, stderr };
}

/** What a program prints. @throws Error with all that it wrote where it fails */
export async function run(folder: string, program: string, ...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await end(folder, program, ...args);
  assert.equal(status, 0, `${program} ${args.join(" ")} ended with ${String(status)}:\n${stdout}${stderr}`);
  return stdout;
}

/** Runs npm, the one that runs this or the one that came with Node. */
export async function npm(folder: string, ...args: readonly string[]): Promise<string> {
  return await run(folder, process.execPath, npmProgram, ...args);
}

/** The registry that npm is set to, by every name under which the other package managers look for it. */
let registries: Readonly<Record<string, string>> = {};
const registry = (await npm(workspace, "config", "get", "registry")).trim();
registries = {
  npm_config_registry: registry,
  NPM_CONFIG_REGISTRY: registry,
  YARN_REGISTRY: registry,
  YARN_NPM_REGISTRY_SERVER: registry,
  BUN_CONFIG_REGISTRY: registry,
  // What they keep for the next time goes with the workspace.
  XDG_DATA_HOME: path.join(workspace, "data"),
  XDG_CACHE_HOME: path.join(workspace, "cache"),
  YARN_CACHE_FOLDER: path.join(workspace, "cache/yarn"),
  YARN_GLOBAL_FOLDER: path.join(workspace, "cache/yarn-global"),
  YARN_ENABLE_TELEMETRY: "0",
  DENO_DIR: path.join(workspace, "cache/deno"),
};

/** The packed package. Its build has been made. */
const [packed] = JSON.parse(
  await npm(root, "pack", "--ignore-scripts", "--json", "--pack-destination", workspace),
) as readonly { readonly filename: string; readonly size: number; readonly files: readonly object[] }[];
assert.ok(packed);
export const packedFile = path.join(workspace, packed.filename);
export const packedSizeBytes = packed.size;
export const packedFileCount = packed.files.length;

/** The code on README's first screen, which prints 5. */
export const example =
  /^```ts\n(.*?)^```/ms.exec(readFileSync(path.join(root, "README.md"), "utf8"))?.[1] ?? "";
assert.ok(example, "README.md has no first example");

type Files = Readonly<Record<string, string | object>>;

/** A new folder with these files. */
export function project(name: string, files: Files): string {
  const folder = path.join(workspace, name);
  mkdirSync(folder);
  for (const [file, content] of Object.entries(files)) {
    writeFileSync(path.join(folder, file), typeof content === "string" ? content : JSON.stringify(content));
  }
  return folder;
}

/** What npm made of one installation of the package, for the projects that do not try npm itself. */
const original = project("installed", { "package.json": { type: "module" } });
await npm(original, "install", "--no-audit", "--no-fund", packedFile);

/** A new folder with these files, and with the package as npm installs it. */
export function installedProject(name: string, files: Files): string {
  const folder = project(name, { "package.json": { type: "module" }, ...files });
  copyModules(folder, ".");
  return folder;
}

/** Copies a part of the installed `node_modules` to the same place in another folder. */
export function copyModules(folder: string, part: string): void {
  const place = path.join("node_modules", part);
  cpSync(path.join(original, place), path.join(folder, place), { recursive: true });
}

/** The folder in `node_modules/@koromix` that has koffi's binary for this machine. */
export const binaryFolder = path.join(
  "@koromix",
  readdirSync(path.join(original, "node_modules/@koromix"))[0] ?? "",
);

const tools = path.join(root, ".cache/tools");

/** The tools that are being fetched: several trials may need the same. */
const fetching = new Map<string, Promise<string>>();

/**
 * Fetches tools from npm, unless they are there already.
 * @returns the folder that has them
 * @throws Skip where they cannot be had
 */
export async function fetchTools(...packages: readonly string[]): Promise<string> {
  const folder = path.join(tools, packages.join("+").replaceAll("/", "-"));
  const fetched = fetching.get(folder) ?? fetchInto(folder, packages);
  fetching.set(folder, fetched);
  return await fetched;
}

async function fetchInto(folder: string, packages: readonly string[]): Promise<string> {
  const modules = path.join(folder, "node_modules");
  if (existsSync(folder)) return modules;
  // Made aside and put in place when it is whole: an interrupted one is not taken for one.
  const draft = `${folder}.${process.pid}`;
  mkdirSync(draft, { recursive: true });
  try {
    writeFileSync(path.join(draft, "package.json"), "{}");
    const flags = ["--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"];
    const { status, stderr } = await end(
      draft,
      process.execPath,
      npmProgram,
      "install",
      ...flags,
      ...packages,
    );
    if (status !== 0) {
      const reasons = stderr.split("\n").filter((line) => line.startsWith("npm error"));
      throw new Skip(`npm cannot fetch ${packages.join(", ")}: ${reasons.slice(0, 2).join("; ") || stderr}`);
    }
    renameSync(draft, folder);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  return modules;
}
