/** The routine that notes results, and what the journal then knows: on this machine. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { platform } from "../../src/base/platform.ts";
import { Journal } from "../../src/vm/journal.ts";
import { systemMemory } from "../../src/vm/select.ts";
import { needs } from "../support/requirements.ts";

const INTEGERS = 112;
const SIZE = 65536;

describe("the journal on this machine", { skip: needs("machineCode") }, () => {
  const memory = systemMemory();

  function open(isFirst: boolean, words = new Int32Array(new SharedArrayBuffer(INTEGERS * 4))): Journal {
    const doubles = new Float64Array(words.buffer);
    const journal = memory.sharing?.openJournal({ words, doubles, start: 0, integers: INTEGERS }, isFirst);
    assert.ok(journal instanceof Journal);
    return journal;
  }

  test("a thread that is first has a routine made, and later allocators have the same", () => {
    const { routine } = open(true);
    assert.ok(routine > 0 && routine % 4096 === 0, `${platform.system} lets one be made`);
    assert.equal(open(true).routine, routine);
    assert.equal(open(false).routine, 0, "the others do not write it");
  });

  test("what is mapped is held until it is given back, and no descriptor or handle", () => {
    const journal = open(true);
    const tag = { name: "test0journal", isGuarded: true, journal };
    for (let round = 0; round < 3; round++) {
      const { rx, rw } = memory.allocDualMapping(SIZE, {}, tag);
      const held = journal.heldRanges();
      const isHeld = (address: number): boolean =>
        held.some((range) => range.address <= address && address + SIZE <= range.address + range.sizeBytes);
      assert.ok(isHeld(rx) && isHeld(rw));
      assert.equal(
        held.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        2 * SIZE,
      );
      assert.deepEqual(journal.heldHandles(), []);
      memory.releaseDualMapping({ rx, rw }, SIZE, tag);
      assert.deepEqual(journal.heldRanges(), []);
    }
    const address = memory.alloc(SIZE, { read: true, write: true }, tag);
    assert.deepEqual(journal.heldRanges(), [{ address, sizeBytes: SIZE }]);
    memory.sharing?.reclaim("another", [{ address, sizeBytes: SIZE }], journal);
    assert.deepEqual(journal.heldRanges(), [{ address, sizeBytes: SIZE }], "what is kept stays");
    memory.sharing?.reclaim("another", [], journal);
    assert.deepEqual(journal.heldRanges(), []);
  });

  test("a refusal is noted as one, with its error", () => {
    const journal = open(true);
    const tag = { name: "test0journal", isGuarded: true, journal };
    assert.throws(() => memory.allocDualMapping(2 ** 46, {}, tag), { name: "JitError" });
    assert.deepEqual([journal.heldRanges(), journal.heldHandles()], [[], []]);
  });
});
