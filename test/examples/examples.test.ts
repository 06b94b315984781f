import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { needs } from "../support/requirements.ts";

const skip = needs("systemV");

function outputOf(example: string): string {
  const path = fileURLToPath(new URL(`../../examples/${example}.js`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [path], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  assert.equal(stderr, "");
  return stdout;
}

test("add: twelve lines add two integers", { skip }, () => {
  assert.equal(outputOf("add"), "5\n");
});

test("assembly: text becomes a function", { skip }, () => {
  assert.equal(outputOf("assembly"), "21\n");
});

test("dot-product: a loop over buffers", { skip }, () => {
  assert.equal(outputOf("dot-product"), "249750\n");
});

test("write-protection: storing through rx kills the process that tries", { skip }, () => {
  assert.equal(
    outputOf("write-protection"),
    "stored through rw\nstoring through rx ended the child: SIGSEGV\n",
  );
});
