/** The rooms of src/: every file is in one, imports run down, and the documents show them as they are. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
const root = path.resolve(import.meta.dirname, "../../..");

const { rooms } = (await import(pathToFileURL(path.join(root, "scripts/layers.js")).href)) as {
  readonly rooms: readonly {
    readonly name: string;
    readonly job: string;
    readonly imports: readonly string[];
  }[];
};

const files = readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll(path.sep, "/"))
  .filter((file) => file.endsWith(".ts"));

/** By file: the files of src/ that it imports, by types too. */
const imports = new Map(
  files.map((file) => {
    const text = readFileSync(path.join(root, "src", file), "utf8");
    const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map(([, one = ""]) => one);
    return [file, specifiers.map((one) => path.posix.join(path.posix.dirname(file), one))] as const;
  }),
);

function roomOf(file: string): string {
  return file.includes("/") ? (file.split("/", 1)[0] ?? "") : "";
}

test("nothing but index.ts is at the root of src/, and every folder is a room", () => {
  assert.deepEqual(
    files.filter((file) => roomOf(file) === ""),
    ["index.ts"],
  );
  const used = new Set(files.map(roomOf).filter((room) => room !== ""));
  assert.deepEqual([...used].sort(), rooms.map(({ name }) => name).sort());
});

test("the table lets a room import only from rooms below it", () => {
  for (const [index, { name, imports: allowed }] of rooms.entries()) {
    for (const target of allowed.filter((one) => one.includes("/"))) {
      const below = rooms.findIndex((room) => room.name === roomOf(target));
      assert.ok(below > index, `${name}/ may import ${target}, which is not below it`);
    }
  }
});

test("no file imports itself, through whichever others", () => {
  /** Files from which nothing leads back; each file is followed once. */
  const done = new Set<string>();
  const follow = (file: string, trail: readonly string[]): void => {
    assert.ok(!trail.includes(file), `a circle of imports: ${[...trail, file].join(" → ")}`);
    if (done.has(file)) return;
    for (const target of imports.get(file) ?? []) follow(target, [...trail, file]);
    done.add(file);
  };
  for (const file of files) follow(file, []);
  assert.equal(done.size >= files.length, true);
});

test("docs/architecture.md shows the rooms as the table of the linter has them", () => {
  const text = readFileSync(path.join(root, "docs/architecture.md"), "utf8");
  const rows = [...text.matchAll(/^\| `(\w+)\/` +\| (.*?) +\| (.*?) +\|$/gm)].map(([, name, job, below]) => ({
    name,
    job,
    below,
  }));
  const expected = rooms.map(({ name, job, imports: allowed }) => ({
    name,
    job,
    below: allowed.length === 0 ? "nothing" : allowed.map((one) => `\`${one}\``).join(" "),
  }));
  assert.deepEqual(rows, expected);
});
