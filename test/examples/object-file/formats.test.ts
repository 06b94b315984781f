/** Archives and object files as the linker reads them: whatever is wrong with them is a LinkError. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readMembers } from "../../../examples/object-file/archive.ts";
import { readObject } from "../../../examples/object-file/elf.ts";
import { layOut } from "../../../examples/object-file/layout.ts";
import { LinkError } from "../../../examples/object-file/link-error.ts";
import { resolve } from "../../../examples/object-file/resolve.ts";
import { compileArchive, compileObject } from "../../support/compile-c.ts";
import { Random } from "../../support/random.ts";
import { needs } from "../../support/requirements.ts";

const skip = needs("gcc", "systemV");

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A header of `ar`, for what it is given. */
function header(name: string, size: string | number): string {
  return `${name.padEnd(16)}${"0".padEnd(12)}${"0".padEnd(6)}${"0".padEnd(6)}${"644".padEnd(8)}${String(size).padEnd(10)}\`\n`;
}

describe("archives", () => {
  const read = (text: string): readonly (readonly [string, string])[] =>
    readMembers("lib.a", ascii(text)).map(({ name, bytes }) => [name, new TextDecoder().decode(bytes)]);

  test("have members with short and with long names, at even offsets", () => {
    const long = "a_name_of_many_letters.o";
    const names = `${long}/\nanother_of_many_letters.o/\n`;
    const text =
      `!<arch>\n${header("/", 4)}\0\0\0\0${header("//", names.length)}${names}` +
      `${names.length % 2 === 1 ? "\n" : ""}${header("odd.o/", 3)}odd\n${header("/0", 4)}long${header("/26", 2)}xy`;
    assert.deepEqual(read(text), [
      ["lib.a(odd.o)", "odd"],
      [`lib.a(${long})`, "long"],
      ["lib.a(another_of_many_letters.o)", "xy"],
    ]);
  });

  test("may be empty", () => assert.deepEqual(read("!<arch>\n"), []));

  test("what is none is one member", () => assert.deepEqual(read("anything"), [["lib.a", "anything"]]));

  const refused: readonly (readonly [string, string, string])[] = [
    [
      "a thin archive",
      "!<thin>\n",
      "lib.a is a thin archive: its members are files elsewhere. Make one without ar's option T",
    ],
    [
      "a header that ends too soon",
      "!<arch>\nodd.o/",
      "lib.a is truncated: its header of a member reaches from 0x8 to 0x44, and the file ends at 0xe",
    ],
    [
      "a member that ends too soon",
      `!<arch>\n${header("odd.o/", 4)}odd`,
      "lib.a is truncated: its member odd.o reaches from 0x44 to 0x48, and the file ends at 0x47",
    ],
    [
      "something else where a header should be",
      `!<arch>\n${header("odd.o/", 2)}xy${"z".repeat(60)}`,
      "lib.a is damaged: there is no header of a member at 70",
    ],
    [
      "a size that is no number",
      `!<arch>\n${header("odd.o/", "two")}xy`,
      "lib.a is damaged: there is no header of a member at 8",
    ],
  ];
  for (const [title, text, message] of refused) {
    test(`not ${title}`, () => {
      assert.throws(() => read(text), new LinkError(message));
    });
  }
});

describe("object files", { skip }, () => {
  const SOURCE =
    "int table[3] = {1, 2, 3}; int shared; static int own; extern int other(int);" +
    "__attribute__((weak)) int twice(int n) { own += n; return other(2 * n) + table[n]; }";
  const object = skip === false ? compileObject(SOURCE, ["-O1", "-fcommon"]) : new Uint8Array();

  test("have sections, symbols and relocations", () => {
    const { sections, symbols } = readObject("made.o", object);
    const text = sections.find(({ name }) => name === ".text");
    assert.ok(text !== undefined && text.bytes.length > 0 && text.bytes.length === text.size);
    const bss = sections.find(({ name }) => name === ".bss");
    assert.deepEqual([bss?.size, bss?.bytes.length], [4, 0]);
    const of = (wanted: string): unknown => {
      const { binding, place, size } = symbols.find(({ name }) => name === wanted) ?? assert.fail(wanted);
      return [binding, typeof place === "object" ? place.name : place, size];
    };
    assert.deepEqual(of("table"), ["global", ".data", 12]);
    assert.deepEqual(of("shared"), ["global", "common", 4]);
    assert.deepEqual(of("own"), ["local", ".bss", 4]);
    assert.deepEqual(of("other"), ["global", "undefined", 0]);
    assert.deepEqual(of("twice"), ["weak", ".text", text.size]);
    const call = text.relocations.find(({ symbol }) => symbol.name === "other");
    assert.deepEqual([call?.type, call?.addend], [4, -4]);
  });

  test("of other kinds are refused by what they are", () => {
    const changed = (change: (view: DataView) => void): Uint8Array => {
      const copy = object.slice();
      change(new DataView(copy.buffer));
      return copy;
    };
    const cases: readonly (readonly [Uint8Array, string])[] = [
      [new Uint8Array(), "made.o is no ELF file: it is empty"],
      [ascii("int main;"), "made.o is no ELF file"],
      [
        changed((view) => view.setUint16(18, 183, true)),
        "made.o is for AArch64, 64 bits: this linker is for x86-64",
      ],
      [
        changed((view) => view.setUint16(18, 4711, true)),
        "made.o is for machine 4711, 64 bits: this linker is for x86-64",
      ],
      [changed((view) => view.setUint8(4, 1)), "made.o is for x86-64, 32 bits: this linker is for x86-64"],
      [
        changed((view) => view.setUint16(16, 3, true)),
        "made.o is no relocatable object file (type 3): it has been linked already",
      ],
    ];
    for (const [bytes, message] of cases) {
      assert.throws(() => readObject("made.o", bytes), new LinkError(message));
    }
  });

  test("that are truncated anywhere are refused, and the message says where they end", () => {
    for (let length = 4; length < object.length; length++) {
      const expected = new RegExp(`^made\\.o is truncated: .*, and the file ends at 0x[0-9a-f]+$`);
      assert.throws(
        () => readObject("made.o", object.slice(0, length)),
        (error) => error instanceof LinkError && expected.test(error.message),
        `${length} bytes`,
      );
    }
  });

  test("that are damaged anywhere are read, or refused with a LinkError", () => {
    const archive = compileArchive({ "one.c": SOURCE, "two.c": "int other(int n) { return n; }" }, [
      "-O1",
      "-fcommon",
    ]);
    let refusals = 0;
    for (let seed = 1; seed <= 3000; seed++) {
      const random = new Random(seed);
      const bytes = archive.slice();
      for (let count = random.between(1, 4); count > 0; count--) {
        bytes[random.below(bytes.length)] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
      }
      try {
        const objects = readMembers("made.a", bytes).map((member) => readObject(member.name, member.bytes));
        layOut(resolve("made.a", objects, undefined), []);
      } catch (error) {
        assert.ok(error instanceof LinkError, `seed ${seed}: ${String(error)}`);
        refusals++;
      }
    }
    assert.ok(refusals > 100, `${refusals} of 3000 were refused`);
  });
});

describe("members", { skip }, () => {
  const objectsOf = (
    sources: Readonly<Record<string, string>>,
    flags?: readonly string[],
  ): ReturnType<typeof readObject>[] =>
    readMembers("made.a", compileArchive(sources, flags)).map((member) =>
      readObject(member.name, member.bytes),
    );

  test("are taken as the entries need them, in the order of the archive", () => {
    const objects = objectsOf({
      "unused.c": "int unused(void) { return 0; }",
      "last.c": "int last(void) { return 1; }",
      "middle.c":
        "int last(void); __attribute__((weak)) int unused(void); int middle(void) { return unused ? last() : 0; }",
      "first.c": "int middle(void); int first(void) { return middle(); }",
    });
    const taken = (entries?: readonly string[]): readonly string[] =>
      resolve("made.a", objects, entries).objects.map(({ name }) => name);
    assert.deepEqual(taken(["first"]), ["made.a(last.o)", "made.a(middle.o)", "made.a(first.o)"]);
    assert.deepEqual(taken(["last"]), ["made.a(last.o)"]);
    assert.equal(taken().length, 4);
    assert.throws(() => taken(["missing"]), new LinkError("made.a does not define missing"));
  });

  test("may define a name once, or weakly, or in common", () => {
    const strong = "int value(void) { return 1; }";
    const weak = "__attribute__((weak)) int value(void) { return 2; }";
    const winner = (sources: Readonly<Record<string, string>>): unknown => {
      const { definitions } = resolve("made.a", objectsOf(sources), undefined);
      const place = definitions.get("value")?.place;
      return typeof place === "object" ? place.object : place;
    };
    assert.equal(winner({ "weak.c": weak, "strong.c": strong }), "made.a(strong.o)");
    assert.equal(winner({ "strong.c": strong, "weak.c": weak }), "made.a(strong.o)");
    assert.equal(winner({ "weak.c": weak, "other.c": weak }), "made.a(weak.o)");
    assert.throws(
      () => winner({ "one.c": strong, "two.c": strong }),
      new LinkError("value is defined twice: in made.a(one.o) and in made.a(two.o)"),
    );
    const commons = objectsOf({ "one.c": "char v[4];", "two.c": "char v[100];" }, ["-fcommon"]);
    assert.deepEqual(
      [...resolve("made.a", commons, undefined).commons],
      [["v", { size: 100, alignment: 32 }]],
    );
    const defined = objectsOf({ "one.c": "int v;", "two.c": "int v = 1;" }, ["-fcommon"]);
    assert.deepEqual([...resolve("made.a", defined, undefined).commons], []);
  });
});

describe("layouts", { skip }, () => {
  test("put each section where its kind and its alignment want it", () => {
    const source =
      'const char text[5] = "text"; int value = 1; char zeros[100] __attribute__((aligned(256)));' +
      "extern int far; int *const pointer = &far; int code(void) { return value; }";
    const objects = [readObject("made.o", compileObject(source, ["-O1", "-fPIC"]))];
    const layout = layOut(resolve("made.o", objects, undefined), []);
    const kinds = new Map([...layout.sections].map(([{ name }, { kind }]) => [name, kind]));
    assert.equal(kinds.get(".text"), "code");
    assert.equal(kinds.get(".rodata"), "constants");
    assert.equal(kinds.get(".data.rel.ro"), "constants");
    assert.equal(kinds.get(".eh_frame"), "constants");
    assert.equal(kinds.get(".data"), "data");
    assert.equal(kinds.get(".bss"), "data");
    assert.ok(![...kinds.keys()].some((name) => name.startsWith(".note") || name.startsWith(".debug")));
    for (const [section, { offset }] of layout.sections)
      assert.equal(offset % section.alignment, 0, section.name);
    assert.equal(layout.parts.data.alignment, 256);
    assert.equal(layout.parts.data.bytesWanted, 256 + 100 + 256 - 64);
  });

  test("have no memory that is writable and executable", () => {
    const source = '__attribute__((section(".both,\\"awx\\",@progbits#"))) int both(void) { return 1; }';
    const objects = [readObject("made.o", compileObject(source))];
    assert.throws(
      () => layOut(resolve("made.o", objects, undefined), []),
      new LinkError("made.o: section .both is writable and executable at once, which no memory here is"),
    );
  });
});
