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

test(
  "with --allow-ffi nothing else is asked for",
  { skip: needs("systemV") || needsDenoAndTerminal() },
  () => {
    const command = `'${process.execPath}' run --no-check --allow-ffi --allow-read='${dist}' '${child}'`;
    const run = spawnSync("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
      encoding: "utf8",
      input: "",
      // A prompt waits for an answer, which never comes.
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
    assert.doesNotMatch(run.stdout, /requests|Allow\?|permission/i);
    assert.match(run.stdout, /done 42000 2/);
    assert.equal(run.status, 0);
  },
);
