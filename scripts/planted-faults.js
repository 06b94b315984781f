/**
 * Checks that the tests would find mistakes: each fault of planted-faults-list.js is planted in a copy of the compiled
 * library, and the fuzzer and the tests that the fault names must fail.
 *
 * `node scripts/planted-faults.js [--check] [WORD…]` after a build: --check only checks that every line is still there;
 * words select faults by name and file.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import { plantedFaults } from "./planted-faults-list.js";

/** @import { PlantedFault } from "./planted-faults-list.js" */

const root = path.join(import.meta.dirname, "..");
/** Inside the project, so that the copy finds the packages it imports. */
const copy = path.join(root, ".cache/planted-faults");
/** Far more than the fuzzer needs to meet each fault of the core, in a few seconds. */
const FUZZ_ARGUMENTS = ["--seed", "1", "--ops", "60000", "--verify", "4", "--no-shrink"];
/** Milliseconds. A fault can make any loop endless; the timeout counts as found. */
const TIMEOUT_MS = 120_000;

const isCheck = process.argv.includes("--check");
const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const chosen = plantedFaults.filter(
  ({ name, file }) =>
    wanted.length === 0 || wanted.some((word) => name.includes(word) || file.includes(word)),
);

const lost = chosen.flatMap((fault) => {
  const count = readFileSync(path.join(root, fault.file), "utf8").split(fault.find).length - 1;
  return count === 1 ? [] : [`"${fault.name}": found ${count} times in ${fault.file}: ${fault.find}`];
});
if (lost.length > 0) {
  console.error(
    `The source has changed; correct scripts/planted-faults-list.js. Each text must be there once:\n  ${lost.join("\n  ")}`,
  );
  process.exit(1);
}
if (isCheck) {
  console.log(`all ${chosen.length} places are there`);
} else {
  process.exitCode = plantAll();
}

function plantAll() {
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy, { recursive: true });
  cpSync(path.join(root, "dist"), path.join(copy, "dist"), { recursive: true });
  const compile = makeCompiler();
  const survivors = [];
  for (const fault of chosen) {
    const compiled = path.join(copy, "dist", fault.file.replace(/\.ts$/, ".js"));
    const right = readFileSync(compiled, "utf8");
    const text = readFileSync(path.join(root, fault.file), "utf8");
    const planted = compile(
      fault.file,
      text.replace(fault.find, () => fault.replace),
    );
    if (planted === right) throw new Error(`"${fault.name}" compiles to what was there before`);
    writeFileSync(compiled, planted);
    const caught = [
      ...findingsOf("fuzz", ["dist/fuzz/main.js", ...FUZZ_ARGUMENTS]),
      ...findingsOf("tests", ["dist/test/run.js", ...fault.tests]),
    ];
    writeFileSync(compiled, right);
    if (caught.length === 0) survivors.push(fault.name);
    console.log(
      `${caught.length === 0 ? "MISSED" : "caught"}  ${fault.name} (${fault.file})\n${caught.map((text) => `        ${text}\n`).join("")}`,
    );
  }
  rmSync(copy, { recursive: true, force: true });
  console.log(`${chosen.length - survivors.length} of ${chosen.length} planted faults were caught`);
  return survivors.length === 0 ? 0 : 1;
}

/** Compiles one file with the project's own settings: enums of other files are inlined, types are not checked. */
function makeCompiler() {
  const { config } = ts.readConfigFile(path.join(root, "tsconfig.json"), (file) => ts.sys.readFile(file));
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const known = new Map();
  /** @type {ts.Program | undefined} */
  let before;
  return (/** @type {string} */ file, /** @type {string} */ text) => {
    const changed = path.join(root, file);
    const host = ts.createCompilerHost(options);
    const getSourceFile = host.getSourceFile.bind(host);
    host.getSourceFile = (name, ...rest) => {
      if (path.resolve(name) === changed) return ts.createSourceFile(name, text, ...rest.slice(0, 1));
      if (!known.has(name)) known.set(name, getSourceFile(name, ...rest));
      return known.get(name);
    };
    const program = ts.createProgram([path.join(root, "src/index.ts"), changed], options, host, before);
    before = program;
    const source = program.getSourceFile(changed);
    const errors = program.getSyntacticDiagnostics(source);
    if (errors.length > 0)
      throw new Error(`${file}: ${ts.flattenDiagnosticMessageText(errors[0].messageText, "\n")}`);
    let output = "";
    program.emit(source, (name, written) => {
      if (name.endsWith(".js")) output = written;
    });
    return output;
  };
}

/** The failures that a run of the copy reports, in a line; none where it succeeds. */
function findingsOf(what, args) {
  const run = spawnSync(process.execPath, args, { cwd: copy, encoding: "utf8", timeout: TIMEOUT_MS });
  if (run.status === 0) return [];
  if (run.error !== undefined)
    return [`${what}: ${run.error.code === "ETIMEDOUT" ? "hangs" : run.error.message}`];
  const lines = `${run.stdout}\n${run.stderr}`.split("\n");
  const failed = lines
    .filter((line) => /^\s*✖ .*\(\d/.test(line))
    .map((line) => line.trim().replace(/ \([\d.]+ms\)$/, ""));
  if (what === "tests")
    return [`${what}: ${[...new Set(failed)].slice(0, 3).join(", ") || `exit ${run.status ?? run.signal}`}`];
  const first = lines.find((line) => line.startsWith("Seed")) ?? lines.find((line) => line !== "") ?? "";
  return [`${what}: ${first.slice(0, 160)}`];
}
