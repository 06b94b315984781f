/** The example's program: what it prints, and what it says of wrong command lines. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Report } from "../../../examples/object-file/report.ts";
import { archiveOf } from "../../support/archives.ts";
import { compileArchive } from "../../support/compile-c.ts";
import { needs } from "../../support/requirements.ts";

const program = fileURLToPath(new URL("../../../examples/object-file/main.js", import.meta.url));

function run(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
}

describe("the program", { skip: needs("gcc", "systemV", "glibc") }, () => {
  const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-program-"));
  after(() => rmSync(folder, { recursive: true }));

  function write(name: string, sources: Readonly<Record<string, string>>): string {
    const file = path.join(folder, name);
    writeFileSync(file, compileArchive(sources, ["-O1"]));
    return file;
  }

  const fileOf = {
    upper: (): string =>
      write("upper.a", { "upper.c": "int lower(int); int upper(void) { return lower(1); }" }),
    lower: (): string =>
      write("lower.a", { "lower.c": "#include <stdlib.h>\nint lower(int n) { return abs(rand()) + n; }" }),
  };

  test("links an archive with what another one defines, and shows the first", () => {
    const { status, stdout, stderr } = run(fileOf.upper(), fileOf.lower());
    assert.equal(stderr, "");
    assert.equal(status, 0);
    assert.match(
      stdout,
      /upper\.a\n\nmembers +1\nsymbols for others +1\nrelocations +\d\nentries of the offset table +0\nveneers +0\nlinked in +[\d.]+ ms\n\nkind +bytes +of span +at\ncode +\d+ +64 +0x[0-9a-f]+\n/,
    );
  });

  test("prints the figures as JSON", () => {
    const { status, stdout } = run(fileOf.lower(), "--json", "--entry", "lower");
    assert.equal(status, 0);
    const report = JSON.parse(stdout) as Report;
    assert.deepEqual([report.memberCount, report.symbolCount, report.speed], [1, 1, undefined]);
    assert.deepEqual(
      report.spans.map(({ kind }) => kind),
      ["code", "constants"],
    );
  });

  test("shows the first archive once, if it is named twice", () => {
    const file = fileOf.lower();
    const { status, stdout } = run(file, file);
    assert.equal(status, 0);
    assert.equal(stdout.split("linked in").length, 2, stdout);
  });

  test("says what cannot be read", () => {
    for (const unreadable of [folder, ""]) {
      const { status, stdout, stderr } = run(unreadable);
      assert.match(stderr, /^\S+ cannot be read: EISDIR: .*\n$/);
      assert.deepEqual({ status, stdout }, { status: 2, stdout: "" });
    }
  });

  test("ends with 2 and one message where something is wrong", () => {
    const cases: readonly (readonly [RegExp, ...string[]])[] = [
      [
        /^upper\.a needs what is not defined in it, libc\.so\.6, libm\.so\.6:\n {2}lower, which /,
        fileOf.upper(),
      ],
      [/^lower\.a does not define higher\n$/, fileOf.lower(), "--entry", "higher"],
      [/^There is no libnowhere\.a, here or in the folders of the system's libraries\n$/, "libnowhere.a"],
      [/^Unknown option '--foo'/, "--foo"],
    ];
    for (const [message, ...args] of cases) {
      const { status, stdout, stderr } = run(...args);
      assert.match(stderr, message);
      assert.equal(stdout, "");
      assert.equal(status, 2);
    }
  });
});

test("--help needs nothing else", () => {
  const { status, stdout } = run("--help");
  assert.equal(status, 0);
  assert.match(stdout, /^Usage: npm run example:object-file/);
});

const zlib = archiveOf("libz.a", "zlib1g-dev");

test("compares what it knows with the system's shared library", { skip: zlib.skip }, () => {
  const { status, stdout, stderr } = run(zlib.file, "--json");
  assert.equal(status, 0, stderr);
  const { speed, veneerCount } = JSON.parse(stdout) as Report;
  assert.ok(veneerCount > 0);
  assert.deepEqual(
    speed?.map(({ title, sharedObject }) => [title, sharedObject]),
    [
      ["compress 1 MiB", "libz.so.1"],
      ["decompress 1 MiB", "libz.so.1"],
    ],
  );
  for (const { linkedMs, sharedMs, ratio } of speed) assert.equal(ratio, sharedMs / linkedMs);
});
