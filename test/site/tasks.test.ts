/** The API grouped by task: every export has a place, and no place is empty. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Reflection } from "../../site/reflection.ts";
import { entriesByTask, taskPage } from "../../site/tasks.ts";

function described(name: string, kind: number, summary: string): Reflection {
  return { name, kind, comment: { summary: [{ text: summary }] } };
}

const api: Reflection = {
  name: "package",
  kind: 1,
  children: [
    {
      ...described("Box", 128, "A box. With a lid."),
      children: [
        { name: "constructor", kind: 512 },
        { name: "open", kind: 2048, signatures: [described("open", 4096, "Opens it.")] },
        { name: "sizeBytes", kind: 262_144, getSignature: described("sizeBytes", 524_288, "Bytes.") },
        { name: "[dispose]", kind: 2048 },
      ],
    },
    {
      ...described("Raw", 4, "The layer below."),
      children: [
        { name: "map", kind: 64, signatures: [described("map", 4096, "Maps.")] },
        { name: "Flags", kind: 4_194_304 },
      ],
    },
    { name: "pack", kind: 64, signatures: [described("pack", 4096, "Packs.")] },
    described("BoxOptions", 256, "Its options."),
    described("Size", 2_097_152, "A size."),
  ],
};

describe("entriesByTask", () => {
  test("has each name where it is named, and other members behind their class", () => {
    const groups = entriesByTask(api, [
      { title: "Open", names: ["Box.open"] },
      { title: "Make", names: ["Box", "BoxOptions", "Size", "pack"] },
      { title: "Below", names: ["Raw"] },
    ]);
    const places = groups.map(({ title, entries }) => [
      title,
      entries.map(({ name, place }) => [name, place]),
    ]);
    assert.deepEqual(places, [
      ["Open", [["Box.open", "classes/Box.md#open"]]],
      [
        "Make",
        [
          ["Box", "classes/Box.md"],
          ["Box.sizeBytes", "classes/Box.md#sizebytes"],
          ["BoxOptions", "interfaces/BoxOptions.md"],
          ["Size", "type-aliases/Size.md"],
          ["pack", "functions/pack.md"],
        ],
      ],
      [
        "Below",
        [
          ["Raw", "jit-allocator/namespaces/Raw/index.md"],
          ["Raw.map", "jit-allocator/namespaces/Raw/functions/map.md"],
        ],
      ],
    ]);
    assert.deepEqual(
      groups[1]?.entries.map(({ summary }) => summary),
      ["A box.", "Bytes.", "Its options.", "A size.", "Packs."],
    );
  });

  test("refuses an export without a task", () => {
    const names = ["Box", "Raw", "pack", "BoxOptions"];
    assert.throws(() => entriesByTask(api, [{ title: "All", names }]), /names no task for Size/);
  });

  for (const name of ["Crate", "Box.close"]) {
    test(`refuses ${name}, which does not exist`, () => {
      const names = ["Box", "Raw", "pack", "BoxOptions", "Size", name];
      assert.throws(() => entriesByTask(api, [{ title: "All", names }]), new RegExp(`names ${name}, which`));
    });
  }
});

test("taskPage has a list for each task", () => {
  const entries = [{ name: "Box.open", place: "classes/Box.md#open", summary: "Opens it." }];
  assert.equal(
    taskPage([
      { title: "Open", entries },
      { title: "Shut", entries: [] },
    ]).replace(/^# .*\n\n.*\n\n/, ""),
    "## Open\n\n- [`Box.open`](./classes/Box.md#open): Opens it.\n\n## Shut\n\n\n",
  );
});
