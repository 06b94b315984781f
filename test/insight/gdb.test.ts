/** What the real gdb says of announced code. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { describe, test } from "node:test";
import { mainPath } from "../support/cli.ts";
import { needs } from "../support/requirements.ts";

const child = path.join(import.meta.dirname, "trapping-child.js");

/** Runs the child below gdb, up to its trap, and then the commands. */
function debug(commands: readonly string[], args: readonly string[] = [], announce = "gdb"): string {
  return debugProgram(commands, [child, ...args], announce);
}

/** Runs a program below gdb. */
function debugProgram(commands: readonly string[], program: readonly string[], announce = "gdb"): string {
  const asked = commands.flatMap((command) => ["-ex", command]);
  const run = spawnSync("gdb", ["-nx", "-batch", ...asked, "--args", process.execPath, ...program], {
    encoding: "utf8",
    env: { ...process.env, NODE_V8_COVERAGE: "", JIT_ALLOCATOR_ANNOUNCE: announce },
  });
  return `${run.stdout}${run.stderr}`;
}

describe("gdb", { skip: needs("gdb") }, () => {
  test("names a function and its caller, and walks on into C and back, wherever in the function it stops", () => {
    // After the trap: add rsp, 32; pop rbx; ret.
    const steps = ["bt 12", "stepi", "bt 12", "stepi", "bt 12", "stepi", "bt 12"];
    const said = debug(["run", ...steps, "continue"]);
    const inner =
      /^#0 .* in inner_function \(\)\n#1 .* in outer_function \(\)\n(#.*\n)*#.*FunctionCallback/gm;
    assert.equal(said.match(inner)?.length, 3, said);
    assert.match(said, /^#0 .* in outer_function \(\)\n(#.*\n)*#.*FunctionCallback/m);
    assert.match(said, /^returned$/m, "it goes on");
  });

  test("knows nothing of code that was released", () => {
    const names = ["gone", "churned_6", "churned_7", "outer_function"];
    const said = debug(["run", "info symbol $pc", ...names.map((name) => `info address ${name}`)]);
    assert.match(said, /^in use again$/m);
    assert.match(said, /^inner_function \+ 6 in section \.text/m);
    assert.match(said, /No symbol "gone" in current context/);
    assert.match(said, /No symbol "churned_6" in current context/, "one of many that came and went");
    assert.match(said, /Symbol "churned_7" is at 0x/, "and one that stayed");
    assert.match(said, /Symbol "outer_function" is at 0x/);
  });

  test("knows parts of code, modules and veneers, and no data", () => {
    const names = ["second_part", "of_a_module", "veneer_to_inner_function", "no_code"];
    const said = debug(["run", ...names.map((name) => `info address ${name}`), "info symbol second_part"]);
    for (const name of names.slice(0, 3)) assert.match(said, new RegExp(`Symbol "${name}" is at 0x`), said);
    assert.match(said, /No symbol "no_code" in current context/);
    assert.match(said, /^second_part in section \.text/m);
  });

  test("stops where memory is mapped once at a software breakpoint", () => {
    const said = debug(["run", "break *(inner_function + 10)", "continue", "bt 2"], ["single"]);
    assert.match(said, /hit Breakpoint 1, .* in inner_function \(\)/, said);
  });

  test("stops in a loop that the demo has compiled, by its name", () => {
    const said = debugProgram(
      ["set breakpoint pending on", "hbreak loop_at_116", "run", "bt 8"],
      [mainPath, "demo"],
    );
    assert.match(said, /hit Breakpoint 1, .* in loop_at_116 \(\)/, said);
    assert.match(said, /^#0 .* in loop_at_116 \(\)\n(#.*\n)*#.*FunctionCallback/m);
  });

  test("knows the code of a worker too", () => {
    const said = debug(["run", "bt 3"], ["worker"]);
    assert.match(said, /^#0 .* in inner_function \(\)\n#1 .* in outer_function \(\)/m);
  });

  test("is told nothing unless asked", () => {
    assert.match(debug(["run", "bt 3"], [], ""), /^#0 .* in \?\? \(\)/m);
  });
});
