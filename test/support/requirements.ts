/**
 * What some tests need of the machine they run on. A test that cannot run says so by the reason it is skipped with:
 * `describe("…", { skip: needs("linux") }, …)`. There is no other way in which a test asks for its machine.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { knowsAbsoluteSymbols } from "../../src/ffi/absolute-symbols.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import { nativeSymbol } from "../../src/index.ts";
import { platform } from "../../src/base/platform.ts";
import { systemMemory } from "../../src/vm/select.ts";
import { RUNS_HERE } from "./native-code.ts";

/** Whether the machine has it, and what those that lack it are told. */
interface Requirement {
  readonly isMet: () => boolean;
  readonly reason: string;
}

const isX64Node = platform.system === "linux" && platform.processor === "x64" && platform.runtime === "node";
/** The browser in which tests look at pages: Debian's. */
export const CHROMIUM = "/usr/bin/chromium";

const isWindows = platform.system === "windows";

const requirements = {
  linux: {
    isMet: () => platform.system === "linux",
    reason: "it looks at Linux: /proc, libraries, limits",
  },
  mseal: {
    isMet: () => platform.system === "linux" && systemMemory().ranges?.sealRefusal() === undefined,
    reason: "this kernel, or a filter of its calls, lets nobody seal memory (mseal, Linux 6.10)",
  },
  bundler: {
    isMet: () =>
      !isWindows ||
      existsSync(path.resolve(import.meta.dirname, "../../../node_modules/@rolldown/binding-win32-x64-msvc")),
    reason: "it bundles, and the bundler that is installed is another system's",
  },
  windows: { isMet: () => isWindows, reason: "it looks at Windows" },
  machineCode: { isMet: () => RUNS_HERE, reason: "there is no machine code for this processor and system" },
  systemV: {
    isMet: () => platform.processor === "x64" && !isWindows,
    reason: "its machine code is x86-64 in the System V calling convention",
  },
  bash: { isMet: () => !isWindows, reason: "it sets limits in a shell, and this system has no bash" },
  gcc: {
    isMet: () => isNative("gcc"),
    reason: "it compares with C, and there is no gcc here that compiles for this processor and Linux",
  },
  gxx: {
    isMet: () => platform.runtime === "node" && isNative("g++"),
    reason: "it runs C++ on Node, and this is not Node, or there is no g++ here that compiles for it",
  },
  koffi: {
    isMet: () => platform.runtime === "node",
    reason: "it is about koffi, and this runtime has an interface of its own",
  },
  signals: {
    isMet: () => !isWindows,
    reason: "on Windows a process cannot be sent a signal that it may handle",
  },
  termination: {
    isMet: () => platform.runtime !== "deno",
    reason:
      "Deno 2.9 ends a worker between two turns of its event loop only: in the middle of something its thread goes on " +
      "after terminate() has returned",
  },
  cpuProfile: {
    isMet: () => platform.runtime === "node",
    reason: "it reads the file of --cpu-prof, which Deno does not know and Bun writes in its own way",
  },
  gdb: {
    isMet: () => isX64Node && runs("gdb", ["-nx", "-batch", "-ex", "run", "--args", "true"]),
    reason:
      "it runs gdb on Node, which is not here, may not trace a process, or does not know this processor's code",
  },
  perf: {
    isMet: () => isX64Node && runs("perf", ["record", "-e", "cpu-clock", "-o", "/dev/null", "true"]),
    reason: "it runs perf on Node, which is not here, or may not count",
  },
  chromium: {
    isMet: () => isX64Node && existsSync(CHROMIUM),
    reason: `it looks at pages in a browser from Node, which is not here, or there is no ${CHROMIUM}`,
  },
  pseudoTerminal: {
    isMet: () =>
      platform.runtime === "node" && runs("python3", ["-c", "import pty, os; os.waitstatus_to_exitcode"]),
    reason:
      "it needs a terminal of its own, which Python makes, and this is not Node, or there is no python3",
  },
  withoutProc: {
    isMet: () => platform.runtime !== "bun",
    reason: "Bun 1.4 does not start where there is no /proc",
  },
  glibc: {
    isMet: () => platform.system === "linux" && isGlibc(),
    reason: "it links what was compiled for the GNU C library, and this process has another one",
  },
  absoluteSymbols: {
    isMet: () => platform.system === "linux" && knowsAbsoluteSymbols(systemFfi()),
    reason: "this C library takes absolute symbols for relative ones, or is not known to do otherwise",
  },
  v8: {
    isMet: () => platform.runtime !== "bun",
    reason: "it depends on V8: JavaScriptCore leaves out checks of the stack where it inlines",
  },
  links: { isMet: canLinkFolders, reason: "this system makes no links to folders (Wine)" },
} satisfies Readonly<Record<string, Requirement>>;

/** False where the machine has all of it; else why not, as the `skip` of node:test wants it. */
export function needs(...names: readonly (keyof typeof requirements)[]): string | false {
  const lacking = names.filter((name) => !requirements[name].isMet());
  return lacking.length === 0 ? false : lacking.map((name) => requirements[name].reason).join("; ");
}

/** Whether a program is there and does what it is asked. */
function runs(program: string, args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: "ignore" }).status === 0;
}

/** Whether a compiler is there that compiles for this processor and Linux. */
function isNative(compiler: string): boolean {
  if (platform.system !== "linux") return false;
  const { stdout, status } = spawnSync(compiler, ["-dumpmachine"], { encoding: "utf8" });
  const processor = platform.processor === "x64" ? "x86_64-" : "aarch64-";
  return status === 0 && stdout.startsWith(processor) && stdout.includes("linux");
}

/** Asks the process, since a machine may have several C libraries. */
function isGlibc(): boolean {
  try {
    return nativeSymbol("gnu_get_libc_version") > 0;
  } catch {
    return false;
  }
}

function canLinkFolders(): boolean {
  const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-links-"));
  try {
    symlinkSync(folder, path.join(folder, "link"), "junction");
    return true;
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
