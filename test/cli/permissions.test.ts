/** The command line of a process that may not do everything: each permission missing in turn. */
import assert from "node:assert/strict";
import { readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { platform, type RuntimeName } from "../../src/base/platform.ts";
import { VERSION } from "../../src/cli/version.ts";
import { NODE_PERMISSION_FLAG, runWithFlags } from "../support/flags.ts";
import { needs } from "../support/requirements.ts";

const main = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const dist = path.resolve(import.meta.dirname, "../..");
const manifest = createRequire(import.meta.url).resolve("jit-allocator/package.json");

/** Flags, whether machine code can run with them, and what the report then says. */
type Case = readonly [flags: readonly string[], ok: boolean, ...says: readonly RegExp[]];

/** A program, its modules, and nothing else of the file system. */
function leaveToReadModules(): readonly string[] {
  const koffi = path.dirname(createRequire(import.meta.url).resolve("koffi"));
  // Each once: Node 20 aborts at a folder that is named twice.
  const places = new Set([
    dist,
    manifest,
    path.resolve(koffi, ".."),
    path.resolve(realpathSync(koffi), ".."),
  ]);
  return [...places].map((place) => `--allow-fs-read=${place}`);
}

const RELEASE = /system +linux unknown: not allowed to ask; --allow-sys would allow it/;
const DENO = ["run", "--no-check", "--no-prompt"];
const SPECIAL = /vm\.memfd_noexec +unknown: not allowed to ask; --allow-all would allow it/;

const cases: Readonly<Record<RuntimeName, () => readonly Case[]>> = {
  node: () => [
    [[NODE_PERMISSION_FLAG, "--allow-fs-read=*"], false, /--allow-addons/],
    [[NODE_PERMISSION_FLAG, "--allow-fs-read=*", "--allow-addons"], true],
    [
      [NODE_PERMISSION_FLAG, "--allow-addons", ...leaveToReadModules()],
      true,
      /\? +vm\.memfd_noexec +unknown: not allowed to ask; --allow-fs-read would allow it/,
      /vm\.max_map_count +unknown: not allowed to ask; --allow-fs-read would allow it/,
      /large page size +unknown/,
      /\? +large pages +unknown: not allowed to ask; --allow-fs-read would allow it/,
    ],
    [["--no-addons"], false, /--no-addons/],
  ],
  bun: () => [],
  deno: () => [
    [DENO, false, RELEASE, /FFI +none/, /--allow-ffi/],
    [[...DENO, "--allow-ffi"], true, RELEASE, SPECIAL, /TMPDIR +unknown: .*--allow-env would/],
    [
      [...DENO, "--allow-ffi", "--allow-read"],
      true,
      RELEASE,
      SPECIAL,
      /max_map_count +unknown: .*--allow-all/,
    ],
    [[...DENO, "--allow-ffi", "--allow-sys"], true, SPECIAL, /large page size +unknown/],
    [[...DENO, "--allow-ffi", "--allow-env"], true, RELEASE, SPECIAL],
    [[...DENO, "--allow-all", "--deny-read"], true, SPECIAL],
    [[...DENO, "--allow-all", "--deny-env"], true, /TMPDIR +unknown: not allowed to ask; --allow-env would/],
    [[...DENO, "--allow-all", "--deny-sys"], true, RELEASE],
    [[...DENO, "--allow-all", "--deny-ffi"], false, /FFI +none/, /--allow-ffi/],
    [[...DENO, "--allow-all", "--deny-run", "--deny-write", "--deny-net"], true],
  ],
};

const skip = needs("linux") || needs("machineCode");

describe("the command line of a process started with", { skip }, () => {
  for (const [flags, ok, ...says] of cases[platform.runtime]()) {
    it(`${flags.join(" ").replaceAll(path.resolve(dist, ".."), "…")}: doctor answers`, () => {
      const { status, stdout, stderr } = runWithFlags([...flags, main, "doctor"]);
      assert.equal(status, ok ? 0 : 1, stderr);
      assert.match(stdout, /^Machine\n/);
      for (const pattern of says) assert.match(stdout.replace(/\s*\n {4,}/g, " "), pattern);
      assert.doesNotMatch(stderr, /^ +at |NotCapable|Error/m);
      const json = runWithFlags([...flags, main, "doctor", "--json"]);
      assert.equal((JSON.parse(json.stdout) as { readonly ok: boolean }).ok, ok);
    });
  }

  const least: Readonly<Record<RuntimeName, () => readonly string[]>> = {
    node: () => [NODE_PERMISSION_FLAG, ...leaveToReadModules()],
    bun: () => [],
    deno: () => DENO,
  };
  it("as little as will do: every command has its help, and the package its version", () => {
    const flags = least[platform.runtime]();
    for (const args of [["--help"], ["demo", "--help"], ["doctor", "--help"], ["replay", "--help"]]) {
      const { status, stdout, stderr } = runWithFlags([...flags, main, ...args]);
      assert.equal(status, 0, stderr);
      assert.match(stdout, /^Usage: /);
    }
    const { stdout } = runWithFlags([...flags, main, "--version"]);
    assert.ok(stdout.startsWith(`${VERSION} (${platform.runtime} ${platform.runtimeVersion}, `), stdout);
  });

  it("as little as will do: a program that may not be read is a file that cannot be read", () => {
    const { status, stderr } = runWithFlags([...least[platform.runtime](), main, "demo", "nothing.bf"]);
    assert.equal(status, 1);
    assert.match(stderr, /^jit-allocator demo: cannot read nothing\.bf: .+$/m);
    assert.doesNotMatch(stderr, /^ +at /m);
  });
});

it("the version is that of the package", () => {
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string };
  assert.equal(VERSION, version);
});
