/** The traps that docs/assemblers.md names: a version that sets one of them right fails here, so that the page is too. */
import { AssemblyState } from "@defasm/core";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

const page = readFileSync(new URL("../../../docs/assemblers.md", import.meta.url), "utf8");

function assemble(text: string): { hex: string; errors: readonly string[]; relocations: number } {
  const assembly = new AssemblyState({ syntax: { intel: true, prefix: false } });
  assembly.compile(text);
  let relocations = 0;
  assembly.iterate((statement) => (relocations += statement.relocations?.length ?? 0));
  return {
    hex: Buffer.from(assembly.head.dump()).toString("hex"),
    errors: assembly.errors.map(({ message }) => message),
    relocations,
  };
}

function isOnPage(...texts: readonly string[]): void {
  for (const text of texts) assert.ok(page.includes(`\`${text}`), `the page has no ${text}`);
}

describe("@defasm/core is wrong without an error, and leaves a relocation", () => {
  for (const [text, context, hex] of [
    ["call 0x1234", "", "e800000000"],
    ["jmp nowhere", "", "e900000000"],
    ["mov rax, qword ptr [rip + p]", "\np: dq 1", "48a100000000"],
  ] as const) {
    test(text, () => {
      const made = assemble(text + context);
      assert.deepEqual(made.errors, []);
      assert.ok(made.hex.startsWith(hex), made.hex);
      assert.equal(made.relocations, 1);
      isOnPage(text, hex);
    });
  }
});

describe("@defasm/core is wrong without an error or a relocation", () => {
  const text = "vmovupd zmm17, zmmword ptr [rip + p]";
  for (const [title, source, hex] of [
    ["zmm1 in place of zmm17", `${text}\nret\np: ret`, "62f1fd48100d01000000c3c3"],
    ["a displacement of one byte", `${text}\np: ret`, "62f1fd48100d00c3"],
  ] as const) {
    test(title, () => {
      assert.deepEqual(assemble(source), { hex, errors: [], relocations: 0 });
      isOnPage(text);
    });
  }

  test("with an address in a register it is right", () => {
    assert.equal(assemble("vmovupd zmm17, zmmword ptr [rax]").hex, "62e1fd481008");
  });
});

test("@defasm/core refuses what the page says it refuses", () => {
  for (const text of [".byte 1", ".quad 1"]) assert.deepEqual(assemble(text).errors, ["Unknown opcode"]);
  assert.deepEqual(assemble("dq 1.5").errors, ["Invalid number"]);
  isOnPage("dq 1.5");
});
