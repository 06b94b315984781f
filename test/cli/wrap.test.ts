/** What the commands print in terminals of several widths: no word is broken, and none is lost. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { blockMapLegend, renderBlockMap } from "../../src/cli/block-map.ts";
import type { Command, CommandIo } from "../../src/cli/command.ts";
import { demo } from "../../src/cli/demo.ts";
import { doctor } from "../../src/cli/doctor.ts";
import { replay } from "../../src/cli/replay.ts";
import { showsColor } from "../../src/cli/terminal.ts";
import { widthOf, wrap } from "../../src/cli/wrap.ts";
import { mainPath } from "../support/cli.ts";
import { startOf } from "../support/flags.ts";
import { needs } from "../support/requirements.ts";

const WIDTHS = [40, 60, 80, 200];
const words = (text: string): readonly string[] => text.split(/\s+/).filter((word) => word !== "");
const widest = (text: string): number => Math.max(...text.split("\n").map(widthOf));

async function printed(command: Command, args: readonly string[], columns?: number): Promise<string> {
  let text = "";
  const io: CommandIo = {
    // What a program prints is its own.
    stdout: (part) => void (text += typeof part === "string" ? part : ""),
    stderr: (part) => void (text += part),
    readStdin: () => new TextEncoder().encode("p a phase with a name\na 1 64\nf 1\n"),
    color: false,
    columns,
    stderrColumns: columns,
  };
  await command.run(args, io);
  return text;
}

describe("in a terminal", () => {
  for (const columns of WIDTHS) {
    it(`of ${columns} columns nothing is wider, and the words are the same`, async () => {
      const all: readonly (readonly [string, Command, readonly string[]])[] = [
        ["doctor", doctor, []],
        ...Object.entries({ doctor, demo, replay }).map(([name, one]) => [name, one, ["--help"]] as const),
      ];
      for (const [name, command, args] of all) {
        const text = await printed(command, args, columns);
        const longestWord = Math.max(...words(text).map(widthOf));
        assert.ok(widest(text) <= Math.max(columns, longestWord), `${name}: ${text}`);
        assert.deepEqual(words(text), words(await printed(command, args)));
      }
      assert.ok(widest(await printed(demo, ["hello", "--no-compare"], columns)) <= columns);
      assert.ok(widest(await printed(replay, ["-", "--rounds", "1"], columns)) <= Math.max(columns, 72));
    });
  }

  it("of 80 columns or more every help is as it was written", () => {
    for (const { help } of [doctor, demo, replay]) assert.equal(wrap(help, 80), help);
  });

  it("what follows begins under the last column that leaves room, or beneath the row", () => {
    assert.equal(
      wrap("  name   one two three four five six seven eight nine", 42),
      "  name   one two three four five six seven\n         eight nine",
    );
    assert.equal(
      wrap(`  ok  ${"a long name".padEnd(30)}  then words that are too many`, 50),
      "  ok  a long name\n      then words that are too many",
    );
    assert.equal(
      wrap(`  - ${"an item of a list ".repeat(3)}`.trimEnd(), 40),
      "  - an item of a list an item of a list\n    an item of a list",
    );
  });

  it("a paragraph is filled anew, and a coloured word counts as what is seen of it", () => {
    assert.equal(
      wrap("one two three four five\nsix seven\n\neight\n", 20),
      "one two three four\nfive six seven\n\neight\n",
    );
    const green = "\u001b[32mone two three four\u001b[0m";
    assert.equal(wrap(green, 20), green);
  });

  it("a map has whole lines, and the same scale as in a wide one", () => {
    const granules = new Uint8Array(1024).fill(1);
    const block = { size: 65536, granularity: 64, allocationCount: 1, usedSize: 65536, granules };
    for (const columns of [20, 60, 80, 200]) {
      const [title, ...lines] = renderBlockMap(block, "block 1", columns).trimEnd().split("\n");
      assert.match(title ?? "", /; 1 granule per character$/);
      assert.ok(lines.every((line) => line.length <= columns));
      assert.equal(lines.join("").replaceAll(" ", "").length, 1024);
      assert.ok(widest(blockMapLegend(columns)) <= Math.max(columns, 40));
    }
  });

  it("where there is none, nothing is broken", async () => {
    assert.ok(widest(await printed(doctor, [])) > 80);
  });
});

describe("a real terminal", { skip: needs("linux") || needsScript() }, () => {
  for (const columns of [60, 80, 200]) {
    it(`of ${columns} columns is not overrun`, () => {
      const program = [process.execPath, ...startOf(mainPath)].map((word) => `'${word}'`).join(" ");
      const script = `stty cols ${columns}; eval "$PROGRAM doctor"; eval "$PROGRAM help replay"`;
      const { stdout } = spawnSync("script", ["--quiet", "--command", script, "/dev/null"], {
        encoding: "utf8",
        input: "",
        env: { ...process.env, PROGRAM: program, NODE_V8_COVERAGE: "", NO_COLOR: "1", FORCE_COLOR: "" },
        // Whoever asks something on a terminal waits for an answer that never comes.
        timeout: 60_000,
        killSignal: "SIGKILL",
      });
      const text = stdout.replaceAll("\r", "");
      assert.match(text, /Machine\n/);
      assert.match(text, /Usage: jit-allocator replay/);
      assert.ok(widest(text) <= columns, text);
      assert.ok(widest(text) > columns / 2, "it uses the columns that there are");
    });
  }
});

/** `script` of util-linux makes terminals. */
function needsScript(): string | false {
  return spawnSync("script", ["--version"]).error === undefined ? false : "there is no program `script`";
}

describe("colours", () => {
  const shows = (isTTY: boolean, variables: Readonly<Record<string, string>>): boolean =>
    showsColor({ isTTY }, (name) => variables[name]);

  it("are for terminals that show them", () => {
    assert.equal(shows(true, { TERM: "xterm" }), true);
    assert.equal(shows(true, { OS: "Windows_NT" }), true);
    assert.equal(shows(true, { TERM: "dumb" }), false);
    assert.equal(shows(true, {}), false);
    assert.equal(shows(false, { TERM: "xterm" }), false);
  });

  it("are none with NO_COLOR, unless it is empty", () => {
    assert.equal(shows(true, { TERM: "xterm", NO_COLOR: "1" }), false);
    assert.equal(shows(true, { TERM: "xterm", NO_COLOR: "" }), true);
  });

  it("are what FORCE_COLOR says, whatever else there is", () => {
    assert.equal(shows(false, { FORCE_COLOR: "1" }), true);
    assert.equal(shows(false, { FORCE_COLOR: "1", NO_COLOR: "1" }), true);
    assert.equal(shows(true, { TERM: "xterm", FORCE_COLOR: "0" }), false);
    assert.equal(shows(true, { TERM: "xterm", FORCE_COLOR: "false" }), false);
    assert.equal(shows(false, { FORCE_COLOR: "" }), false);
  });
});
