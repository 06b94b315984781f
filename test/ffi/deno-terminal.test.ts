/** On a terminal Deno asks its user for each permission that is missing; beside `--allow-ffi` it is to ask for none. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { platform } from "../../src/base/platform.ts";
import { needs } from "../support/requirements.ts";

const child = path.join(import.meta.dirname, "deno-terminal-child.js");
/** A worker needs leave to read its own program. */
const dist = path.join(import.meta.dirname, "../..");

/** `script` of util-linux runs a program on a terminal of its own. */
function needsDenoAndTerminal(): string | false {
  if (platform.runtime !== "deno") return "it is about Deno";
  const { error } = spawnSync("script", ["--version"]);
  return error === undefined ? false : "there is no program `script`, which makes terminals";
}

function onTerminal(command: string): { readonly stdout: string; readonly status: number | null } {
  // Out of a variable of the shell, because Deno gives its own permissions to what looks like Deno to it.
  return spawnSync("script", ["--quiet", "--return", "--command", 'eval "exec $COMMAND"', "/dev/null"], {
    encoding: "utf8",
    input: "",
    env: { ...process.env, COMMAND: command },
    // A prompt waits for an answer, which never comes.
    timeout: 60_000,
    killSignal: "SIGKILL",
  });
}

const main = path.join(dist, "src/cli/main.js");

test(
  "no command of the package asks for anything",
  { skip: needs("systemV") || needsDenoAndTerminal() },
  () => {
    for (const args of ["doctor", "--version", "demo --help"]) {
      const run = onTerminal(`'${process.execPath}' run --no-check --allow-ffi '${main}' ${args}`);
      assert.doesNotMatch(run.stdout, /requests|Allow\?/i);
      assert.equal(run.status, 0);
    }
  },
);

test(
  "with --allow-ffi nothing else is asked for",
  { skip: needs("systemV") || needsDenoAndTerminal() },
  () => {
    const command = `'${process.execPath}' run --no-check --allow-ffi --allow-read='${dist}' '${child}'`;
    const run = onTerminal(command);
    assert.doesNotMatch(run.stdout, /requests|Allow\?|permission/i);
    assert.match(run.stdout, /done 42000 2/);
    assert.equal(run.status, 0);
  },
);
