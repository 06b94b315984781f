/** What the journal knows of each call, and that a death at any moment of a mapping leaves nothing: on fake systems. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { DualMapping, JournalStorage, MappedRange } from "../../src/vm/contract.ts";
import { Call, Journal, type NotedFunction } from "../../src/vm/journal.ts";
import { DarwinMemory } from "../../src/vm/darwin.ts";
import { WindowsMemory } from "../../src/vm/windows.ts";
import { everyDeath, type MortalDeed, type MortalSystem } from "../support/deaths-in-calls.ts";
import { FakeKernel32, GRANULARITY } from "../support/fake-kernel32.ts";
import { FakeLibSystem } from "../support/fake-libsystem.ts";
import { FakeLibc, LARGE_PAGE, PAGE, type FakeMachine, type FakeMapping } from "../support/fake-libc.ts";
import { FakeMarks } from "../support/fake-marks.ts";
import { linuxOn } from "../support/linux-on.ts";

const MAP = { call: Call.map, failure: -1, isWide: true };
const UNMAP = { call: Call.unmap, failure: -1, isWide: false };
const OPEN = { call: Call.open, failure: -1, isWide: false };
const CLOSE = { call: Call.close, failure: -1, isWide: false };
const HIGH = 0x7f12_3456_7000;

function newJournal(integers = 120): Journal {
  const buffer = new SharedArrayBuffer((16 + integers) * 4);
  return new Journal({
    words: new Int32Array(buffer),
    doubles: new Float64Array(buffer),
    start: 16,
    integers,
  });
}

function note(journal: Journal, what: NotedFunction, address: number, size: number, result: number): void {
  journal.begin(what, address, size, false);
  journal.end(result);
}

describe("a journal that somebody has written over", () => {
  const INTEGERS = 120;
  const filled = (): { journal: Journal; words: Int32Array; storage: JournalStorage } => {
    const words = new Int32Array(new SharedArrayBuffer(INTEGERS * 4));
    const storage = { words, doubles: new Float64Array(words.buffer), start: 0, integers: INTEGERS };
    const journal = new Journal(storage);
    journal.routine = HIGH;
    note(journal, OPEN, 0, 0, 7);
    note(journal, MAP, 0, 8 * PAGE, HIGH);
    journal.take([{ address: HIGH + 64 * PAGE, sizeBytes: PAGE }], HIGH + 64 * PAGE);
    return { journal, words, storage };
  };
  /** All that can be asked of one. */
  const ask = (journal: Journal): unknown => [
    journal.heldRanges(),
    journal.heldHandles(),
    journal.leaving,
    journal.routine,
  ];

  test("in any word, by any value: it is told, or changes nothing", () => {
    const right = JSON.stringify(ask(filled().journal));
    let told = 0;
    for (let index = 0; index < INTEGERS; index++) {
      for (const value of [0x7fff_ffff, -1, 0x4000_0000, 1, 0x3ff0_0000]) {
        const { journal, words, storage } = filled();
        words[index] = value;
        try {
          // By a thread that has been there, and by one that comes now.
          for (const each of [journal, new Journal(storage)]) assert.equal(JSON.stringify(ask(each)), right);
          note(journal, MAP, 0, PAGE, HIGH + 128 * PAGE);
          journal.drop([]);
        } catch (error) {
          assert.match(String(error), /^Error: invariant 19 is broken/, `word ${index} is ${value}`);
          told += 1;
        }
      }
    }
    assert.ok(told > 100, `${told} of them were told`);
  });
});

describe("the journal", () => {
  test("what a call has mapped is held until it is unmapped, or dropped; a part of it too", () => {
    const journal = newJournal();
    note(journal, MAP, 0, 8 * PAGE, HIGH);
    note(journal, MAP, 0, 2 * PAGE, HIGH + PAGE);
    assert.deepEqual(journal.heldRanges(), [{ address: HIGH, sizeBytes: 8 * PAGE }], "over what is held");
    note(journal, UNMAP, HIGH + PAGE, 2 * PAGE, 0);
    const rest = [
      { address: HIGH, sizeBytes: PAGE },
      { address: HIGH + 3 * PAGE, sizeBytes: 5 * PAGE },
    ];
    assert.deepEqual(journal.heldRanges(), rest);
    note(journal, UNMAP, HIGH, PAGE, -1);
    assert.deepEqual(journal.heldRanges(), rest, "refused");
    journal.drop([{ address: HIGH, sizeBytes: 8 * PAGE }]);
    assert.deepEqual(journal.heldRanges(), []);
  });

  test("what failed was not made", () => {
    const journal = newJournal();
    note(journal, MAP, 0, PAGE, -1);
    note(journal, OPEN, 0, 0, -1);
    assert.deepEqual([journal.heldRanges(), journal.heldHandles()], [[], []]);
  });

  test("a descriptor is held until it is closed, whatever that says", () => {
    const journal = newJournal();
    note(journal, OPEN, 0, 0, 0);
    note(journal, OPEN, 0, 0, 7);
    assert.deepEqual(journal.heldHandles(), [0, 7]);
    note(journal, CLOSE, 0, 0, -1);
    assert.deepEqual(journal.heldHandles(), [7]);
  });

  for (const isExact of [true, false]) {
    test(`a call without a result was ${isExact ? "not made" : "made, or was not: nothing is risked"}`, () => {
      const journal = newJournal();
      note(journal, MAP, 0, PAGE, HIGH);
      note(journal, OPEN, 0, 0, 7);
      journal.begin(MAP, 0, PAGE, isExact);
      assert.deepEqual(journal.heldRanges(), [{ address: HIGH, sizeBytes: PAGE }]);
      journal.begin(UNMAP, HIGH, PAGE, isExact);
      assert.equal(journal.heldRanges().length, isExact ? 1 : 0);
      journal.begin(CLOSE, 7, 0, isExact);
      assert.equal(journal.heldHandles().length, isExact ? 1 : 0);
    });
  }

  test("a routine's result is read as wide as it is", () => {
    const journal = newJournal();
    journal.begin(OPEN, 0, 0, true).set([5, 0x5a5a]);
    assert.deepEqual(journal.heldHandles(), [5]);
    journal.begin(MAP, 0, PAGE, true).set([0x9000_1000 | 0, 0x7fff]);
    assert.deepEqual(journal.heldRanges(), [{ address: 0x7fff_9000_1000, sizeBytes: PAGE }]);
    journal.begin(MAP, 0, PAGE, true).set([-1, -1]);
    assert.equal(journal.heldRanges().length, 1);
  });

  test("a block that is being given back is known by its address, until it is dropped", () => {
    const journal = newJournal();
    journal.take([{ address: HIGH, sizeBytes: PAGE }], HIGH);
    note(journal, UNMAP, HIGH, PAGE, 0);
    assert.equal(journal.leaving, HIGH);
    journal.drop([]);
    assert.equal(journal.leaving, 0);
  });

  test("more than there is room for is not held, and spoils nothing", () => {
    const journal = newJournal();
    for (let index = 0; index < 20; index++) note(journal, MAP, 0, PAGE, HIGH + 2 * index * PAGE);
    const held = journal.heldRanges();
    assert.ok(held.length >= 8 && held.length < 20, `${held.length} ranges`);
    for (let index = 0; index < 20; index++) note(journal, UNMAP, HIGH + 2 * index * PAGE, PAGE, 0);
    assert.deepEqual([journal.heldRanges(), journal.heldHandles()], [[], []]);
  });
});

function rangesOf({ rx, rw }: DualMapping, sizeBytes: number): MappedRange[] {
  return [
    { address: rx, sizeBytes },
    { address: rw, sizeBytes },
  ];
}

function sizeOf(ranges: readonly MappedRange[]): number {
  return ranges[0]?.sizeBytes ?? 0;
}

function viewsOf(ranges: readonly MappedRange[]): DualMapping {
  return { rx: ranges[0]?.address ?? 0, rw: ranges[1]?.address ?? 0 };
}

/** As a block is mapped and given back (engine/block-memory.ts). */
function deedsOf(sizeBytes: number): Readonly<Record<string, MortalDeed>> {
  const access = { read: true, write: true, execute: true };
  const mapTwice: MortalDeed["run"] = (memory, tag) => {
    memory.allocDualMapping(sizeBytes, {}, tag);
  };
  return {
    "the first dual mapping": { run: mapTwice },
    "a later one": {
      prepare: (memory, tag) => rangesOf(memory.allocDualMapping(sizeBytes, {}, tag), sizeBytes),
      run: mapTwice,
    },
    "a mapping that is writable and executable": {
      run: (memory, tag) => {
        memory.alloc(sizeBytes, access, tag);
      },
    },
    "a dual mapping given back": {
      givesBack: true,
      prepare: (memory, tag) => rangesOf(memory.allocDualMapping(sizeBytes, {}, tag), sizeBytes),
      run: (memory, tag, journal, ranges) => {
        journal.take(ranges, viewsOf(ranges).rx);
        memory.releaseDualMapping(viewsOf(ranges), sizeOf(ranges), tag);
      },
    },
    "a mapping given back": {
      givesBack: true,
      prepare: (memory, tag) => {
        const address = memory.alloc(sizeBytes, access, tag);
        return rangesOf({ rx: address, rw: address }, sizeBytes);
      },
      run: (memory, tag, journal, ranges) => {
        journal.take(ranges, viewsOf(ranges).rx);
        memory.release(viewsOf(ranges).rx, sizeOf(ranges), tag);
      },
    },
  };
}

/** On Windows the right to have them is asked for first, outside of this. */
const LARGE_DEEDS: Readonly<Record<string, MortalDeed>> = {
  "one of large pages": {
    run: (memory, tag) => {
      memory.allocDualMapping(LARGE_PAGE, { largePages: true }, tag);
    },
  },
};

/** The addresses in what `leftovers` says. */
function addressesIn(texts: readonly string[]): number[] {
  return texts
    .flatMap((text) => /^mapping ([0-9a-f]+)/.exec(text)?.slice(1) ?? [])
    .map((hex) => Number.parseInt(hex, 16));
}

function linux(machine: FakeMachine): MortalSystem<FakeLibc> {
  const libc = new FakeLibc(machine);
  return {
    system: libc,
    noted: ["mmap", "munmap", "memfd_create", "shm_open", "open", "close"],
    open: (seen, noting) => linuxOn(seen, new FakeMarks(), noting),
    leftovers: () => libc.leftovers(),
    occupy: (before) => {
      const free = addressesIn(before).filter((address) => libc.mappingAt(address) === undefined);
      const others = free.map((start): FakeMapping => {
        const access = { protection: 0, isReadOnly: false, isSealed: false };
        return { start, sizeBytes: PAGE, file: undefined, flags: 0, offset: 0, ...access };
      });
      libc.mappings.push(...others);
      return () => {
        const isThere = others.every((other) => libc.mappings.includes(other));
        libc.mappings = libc.mappings.filter((mapping) => !others.includes(mapping));
        return isThere;
      };
    },
  };
}

function windows(): MortalSystem<FakeKernel32> {
  const kernel32 = new FakeKernel32();
  return {
    system: kernel32,
    noted: [
      "VirtualAlloc",
      "VirtualFree",
      "MapViewOfFile",
      "UnmapViewOfFile",
      "CreateFileMappingW",
      "CloseHandle",
    ],
    open: (seen, noting) =>
      new WindowsMemory({
        kernel32: seen,
        advapi32: kernel32,
        noting,
        ffi: { view: () => new ArrayBuffer(0), detach: () => undefined },
      }),
    leftovers: () => kernel32.leftovers(),
    occupy: (before) => {
      const free = addressesIn(before).filter((address) => kernel32.space.at(address) === undefined);
      const others = free.map((start) => ({
        base: start,
        start,
        sizeBytes: GRANULARITY,
        protection: 1,
        view: undefined,
      }));
      kernel32.space.mappings.push(...others);
      return () => {
        const isThere = others.every((other) => kernel32.space.mappings.includes(other));
        kernel32.space.mappings = kernel32.space.mappings.filter(
          (mapping) => !others.includes(mapping as (typeof others)[0]),
        );
        return isThere;
      };
    },
  };
}

function mac(): MortalSystem<FakeLibSystem> {
  const processor = { needsFlush: true, switchesJitMemory: true };
  const libSystem = new FakeLibSystem({ processor: "Intel" });
  return {
    system: libSystem,
    noted: [],
    open: (seen) =>
      new DarwinMemory({
        libSystem: seen,
        processor,
        ffi: { view: () => new ArrayBuffer(0), detach: () => undefined },
      }),
    leftovers: () => libSystem.leftovers(),
    // What is not there any more would be cut: the fake throws then.
    occupy: () => () => true,
  };
}

const MACHINES: Readonly<Record<string, () => MortalSystem<FakeLibc>>> = {
  Linux: () => linux({ hugetlbPages: 4, files: { "/proc/meminfo": "Hugepagesize:       2048 kB\n" } }),
  "Linux that refuses MFD_EXEC, and has transparent large pages": () =>
    linux({
      memfdNoexec: 2,
      files: { "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size": `${LARGE_PAGE}\n` },
    }),
};

function checkAll<System extends object>(
  name: string,
  start: () => MortalSystem<System>,
  deeds: Readonly<Record<string, MortalDeed>>,
): void {
  describe(`a thread that dies at any moment of a mapping leaves nothing: ${name}`, () => {
    for (const [what, deed] of Object.entries(deeds)) {
      test(what, () => {
        const { deaths, left } = everyDeath(start, deed, true);
        assert.ok(deaths > 5, `${deaths} moments`);
        assert.deepEqual(left, []);
      });

      test(`${what}, where no routine notes results: what the last call made at the most`, () => {
        const { left } = everyDeath(start, deed, false);
        assert.ok(left.length <= 2, left.join(", "));
      });
    }
  });
}

for (const [name, start] of Object.entries(MACHINES))
  checkAll(name, start, { ...deedsOf(16 * PAGE), ...LARGE_DEEDS });

describe("a thread that dies at any moment of a mapping: macOS, where no routine notes results", () => {
  for (const [what, deed] of Object.entries(deedsOf(16 * PAGE))) {
    test(`${what}: what the last call made at the most`, () => {
      const { deaths, left } = everyDeath(mac, deed, false);
      assert.ok(deaths > 5, `${deaths} moments`);
      // Both views are unmapped by one call.
      assert.ok(left.length <= 2, left.join());
    });
  }
});

describe("where memory is a file with a name, an empty one may be left for the moment before it is unlinked", () => {
  for (const [what, deed] of Object.entries(deedsOf(16 * PAGE))) {
    test(what, () => {
      const { left } = everyDeath(() => linux({ hasMemfd: false }), deed, true);
      assert.ok(left.length <= 1 && left.every((text) => text.startsWith("file /dev/shm/")), left.join());
    });
  }
});

checkAll("Windows", windows, deedsOf(GRANULARITY));
