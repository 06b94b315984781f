/**
 * The runtimes that the tests and the benchmark of calls run on, at the versions that the project answers for.
 * They come from npm, as packages that hold nothing but the program, into a cache that git does not know. So nobody
 * who installs the project gets them, and who runs them needs nothing but npm.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { platform, type ProcessorName } from "../../src/base/platform.ts";
import { installDebianPackages, isRunnable, mustRun } from "./commands.ts";
import { muslLauncher } from "./musl.ts";

/** One runtime at one version. */
export interface Runtime {
  /** `node 22.23.3` */
  readonly name: string;
  /** The npm package, with its version; for this machine's processor. */
  readonly package: string;
  /** Where the program is in the package. */
  readonly program: string;
  /** What stands between the program and a script. */
  readonly flags: readonly string[];
  /** Whether it is for another C library than this machine's, musl. */
  readonly isForMusl?: boolean;
}

/** The oldest that `engines` of package.json lets in: the first with `Symbol.dispose`. */
const OLDEST_NODE_VERSION = "20.4.0";
const NODE_VERSIONS = ["20.20.2", "22.23.3", "24.21.0", "26.10.0"];
const BUN_VERSION = "1.4.5";
const DENO_VERSION = "2.9.6";

const root = path.resolve(import.meta.dirname, "../../..");
const cache = path.join(root, ".cache/runtimes");

/** How the packages call the processors. */
const PROCESSORS: Readonly<
  Record<ProcessorName, { readonly node: string; readonly bun: string } | undefined>
> = {
  x64: { node: "x64", bun: "x64" },
  arm64: { node: "arm64", bun: "aarch64" },
  other: undefined,
};

function nodeRuntime(version: string, processor: string): Runtime {
  return {
    name: `node ${version}`,
    package: `node-linux-${processor}@${version}`,
    program: "bin/node",
    flags: [],
  };
}

function processorNames(): { readonly node: string; readonly bun: string } {
  const processor = PROCESSORS[platform.processor];
  if (platform.system !== "linux" || processor === undefined) {
    throw new Error(`The runtimes are fetched for Linux on x86-64 and AArch64, not for this machine`);
  }
  return processor;
}

/** The oldest Node that the package runs on. The tests' own tools do not: it is for trying the package. */
export function oldestNode(): Runtime {
  return nodeRuntime(OLDEST_NODE_VERSION, processorNames().node);
}

/** All of them. @throws Error where there are none for this system and processor. */
export function allRuntimes(): readonly Runtime[] {
  const processor = processorNames();
  return [
    ...NODE_VERSIONS.map((version) => nodeRuntime(version, processor.node)),
    {
      name: `bun ${BUN_VERSION}`,
      package: `@oven/bun-linux-${processor.bun}@${BUN_VERSION}`,
      program: "bin/bun",
      flags: [],
    },
    {
      name: `deno ${DENO_VERSION}`,
      package: `@deno/linux-${processor.node}-glibc@${DENO_VERSION}`,
      program: "deno",
      flags: ["run", "-A", "--no-check"],
    },
  ];
}

/** {@link allRuntimes}, and those for musl: Bun alone has packages of it that hold the whole program. */
export function runtimesAndMusl(): readonly Runtime[] {
  const bun: Runtime = {
    name: `bun ${BUN_VERSION} musl`,
    package: `@oven/bun-linux-x64-musl@${BUN_VERSION}`,
    program: "bin/bun",
    flags: [],
    isForMusl: true,
  };
  return [...allRuntimes(), ...(platform.processor === "x64" ? [bun] : [])];
}

/** Those whose names contain one of the words; all without words. @throws Error where a word fits none. */
export function runtimesNamed(words: readonly string[], runtimes = allRuntimes()): readonly Runtime[] {
  const unknown = words.find((word) => !runtimes.some(({ name }) => name.includes(word)));
  if (unknown !== undefined) {
    throw new Error(`No runtime's name contains ${unknown}: ${runtimes.map(({ name }) => name).join(", ")}`);
  }
  return words.length === 0
    ? runtimes
    : runtimes.filter(({ name }) => words.some((word) => name.includes(word)));
}

/** The path of the program, fetched if it is not there yet. */
export function fetchRuntime(runtime: Runtime): string {
  const folder = path.join(cache, runtime.name.replaceAll(" ", "-"));
  const packageName = runtime.package.slice(0, runtime.package.lastIndexOf("@"));
  const program = path.join("node_modules", packageName, runtime.program);
  if (!existsSync(path.join(folder, program))) fetch(runtime, folder, program);
  const whole = path.join(folder, program);
  if (runtime.isForMusl === true) return muslLauncher(whole, folder);
  // Node 26 is linked with libatomic, which Debian has where there is a compiler and else only by this name.
  if (!isRunnable(whole)) installDebianPackages(["libatomic1"]);
  mustRun(whole, ["--version"]);
  return whole;
}

function fetch(runtime: Runtime, folder: string, program: string): void {
  console.log(`Fetching ${runtime.package}`);
  // Made aside and put in place when it is whole: an interrupted one is not taken for one.
  const draft = `${folder}.${process.pid}`;
  mkdirSync(draft, { recursive: true });
  try {
    writeFileSync(path.join(draft, "package.json"), "{}");
    npm(
      [
        ...["install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"],
        // npm else refuses packages for another C library than this machine's.
        ...(runtime.isForMusl === true ? ["--force"] : []),
        runtime.package,
      ],
      draft,
    );
    if (!existsSync(path.join(draft, program)))
      throw new Error(`${runtime.package} holds no ${runtime.program}`);
    rmSync(folder, { recursive: true, force: true });
    renameSync(draft, folder);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** Runs npm: the one that runs this, or the one that came with Node. */
export function npm(args: readonly string[], folder: string): void {
  const program =
    process.env["npm_execpath"] ??
    path.resolve(process.execPath, "../../lib/node_modules/npm/bin/npm-cli.js");
  const { status, stderr } = spawnSync(process.execPath, [program, ...args], {
    cwd: folder,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`npm ${args.join(" ")} failed:\n${stderr}`);
}
