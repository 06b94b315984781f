/** Links what gcc compiles, and runs it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, toPointer, type Address } from "jit-allocator";
import { LoadedLibrary } from "../../../examples/object-file/library.ts";
import { LinkError } from "../../../examples/object-file/link-error.ts";
import type { LinkOptions } from "../../../examples/object-file/survey.ts";
import { compileArchive } from "../../support/compile-c.ts";
import { needs } from "../../support/requirements.ts";

const skip = needs("gcc", "systemV", "glibc");

const NUMBER = { parameters: [], result: "i32" } as const;
const FROM_NUMBER = { parameters: ["i32"], result: "i32" } as const;

type Sources = Readonly<Record<string, string>>;

function load(
  allocator: JitAllocator,
  sources: Sources,
  flags?: readonly string[],
  options?: LinkOptions,
): LoadedLibrary {
  return LoadedLibrary.fromBytes(allocator, "made.a", compileArchive(sources, flags), options);
}

/** Calls, tables, strings, zeros, pointers to data and to functions, libc near and far: what a program is made of. */
const PROGRAM: Sources = {
  "main.c": `
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    extern int counter, zeros[1000];
    extern const char *const names[];
    typedef int operation(int, int);
    extern operation *const operations[4];
    static int own;
    int choose(int n) {
      switch (n) {
        case 0: return 11; case 1: return 7; case 2: return -3; case 3: return 400;
        case 4: return n * own; case 5: return 23; case 6: own++; return 5; default: return 0;
      }
    }
    int run(int n) {
      int sum = 0;
      for (int index = 0; index < 4; index++) sum += operations[index](n, index + 1);
      for (int index = 0; index < 8; index++) sum += choose(index);
      char *text = malloc(100);
      snprintf(text, 100, "%s and %s: %.2f", names[0], names[1], n * 1.5);
      zeros[999] += ++counter;
      sum += 1000 * (int)strlen(text) + 100000 * zeros[999];
      free(text);
      return sum;
    }`,
  "tables.c": `
    int counter = 40;
    int zeros[1000] __attribute__((aligned(4096)));
    const char *const names[] = { "one", "the other" };
    typedef int operation(int, int);
    static int add(int a, int b) { return a + b; }
    static int subtract(int a, int b) { return a - b; }
    int multiply(int a, int b);
    extern int divide(int a, int b);
    operation *const operations[4] = { add, subtract, multiply, divide };`,
  "more.c": `
    int multiply(int a, int b) { return a * b; }
    int divide(int a, int b) { return b == 0 ? 0 : a / b; }`,
};

/** What `run` returns at its first and its second call, by C's rules. */
function expected(n: number, call: number): number {
  const operations = n + 1 + (n - 2) + n * 3 + Math.trunc(n / 4);
  const choices = 11 + 7 - 3 + 400 + 4 * (call - 1) + 23 + 5;
  const text = `one and the other: ${(n * 1.5).toFixed(2)}`;
  const zeros = call === 1 ? 41 : 41 + 42;
  return operations + choices + 1000 * text.length + 100_000 * zeros;
}

describe("a program of three objects runs", { skip }, () => {
  const compilations: readonly (readonly string[])[] = [
    ["-O0"],
    ["-O2"],
    ["-O2", "-fPIC"],
    ["-O1", "-fPIC", "-fno-plt"],
    ["-O2", "-fPIC", "-Wa,-mrelax-relocations=no"],
    ["-O2", "-fPIE", "-ffunction-sections", "-fdata-sections", "-fno-jump-tables"],
    ["-O3", "-fno-pic", "-mcmodel=large"],
    ["-O2", "-g3", "-fno-asynchronous-unwind-tables"],
  ];
  for (const flags of compilations) {
    test(`compiled with ${flags.join(" ")}`, () => {
      using allocator = new JitAllocator();
      {
        using library = load(allocator, PROGRAM, flags);
        const run = library.toFunction("run", FROM_NUMBER);
        assert.equal(run(21), expected(21, 1));
        assert.equal(run(-8), expected(-8, 2));
        assert.equal(library.addressOf("zeros") % 4096, 0);
        allocator.verify();
      }
      assert.equal(allocator.statistics().allocationCount, 0);
    });
  }

  test("with its kinds apart: constants cannot be written, nor data executed", () => {
    using allocator = new JitAllocator();
    using library = load(allocator, PROGRAM);
    const { module, bytes, symbols } = library.linked;
    assert.deepEqual(
      module.spans.map(({ kind }) => kind),
      ["code", "constants", "data"],
    );
    const kindAt = (name: string): string => allocator.query(symbols.get(name) ?? 0).kind;
    assert.deepEqual(["run", "operations", "counter", "zeros"].map(kindAt), [
      "code",
      "constants",
      "data",
      "data",
    ]);
    assert.ok(bytes.data >= 4000 && bytes.code > 100 && bytes.constants > 50);
  });
});

describe("symbols", { skip }, () => {
  test("of the archive win over those of the process and of the libraries", () => {
    using allocator = new JitAllocator();
    using library = load(
      allocator,
      {
        "own.c": "int abs(int n) { return n + 1000; } int zlibVersion(void) { return 7; }",
        "use.c": "int abs(int); int zlibVersion(void); int both(int n) { return abs(n) + zlibVersion(); }",
      },
      ["-O1", "-fno-builtin"],
    );
    assert.equal(library.toFunction("both", FROM_NUMBER)(-1), 1006);
  });

  test("that the runtime has for itself are not found by accident", () => {
    using allocator = new JitAllocator();
    assert.throws(
      () => load(allocator, { "use.c": "int crc32(int); int use(void) { return crc32(1); }" }),
      /^LinkError: made\.a needs what is not defined in it, libc\.so\.6, libm\.so\.6:\n {2}crc32, which made\.a\(use\.o\), /,
    );
  });

  test("can be given: a callback", () => {
    using allocator = new JitAllocator();
    using callback = toPointer((n) => n * 3, FROM_NUMBER);
    const symbols = new Map([["triple", callback.address]]);
    using library = load(
      allocator,
      { "use.c": "int triple(int); int use(int n) { return triple(n) + triple(1); }" },
      ["-O2"],
      { symbols },
    );
    assert.equal(library.toFunction("use", FROM_NUMBER)(5), 18);
    assert.equal(
      library.linked.veneerCount,
      allocator.reaches(allocator.range?.start ?? 0, callback.address) ? 0 : 1,
    );
  });

  test("can come from another archive, without a veneer", () => {
    using allocator = new JitAllocator();
    using one = load(allocator, { "one.c": "int one(int n) { return n + 1; }" });
    using two = load(allocator, { "two.c": "int one(int); int two(int n) { return one(2 * n); }" }, ["-O2"], {
      symbols: one.linked.symbols,
    });
    assert.equal(two.toFunction("two", FROM_NUMBER)(4), 9);
    assert.equal(two.linked.veneerCount, 0);
  });

  test("that are the C library's streams are copied, for code that reads them in place", () => {
    using allocator = new JitAllocator();
    const source =
      "#include <stdio.h>\nint use(void) { return fileno(stdin) + 10 * fileno(stdout) + 100 * fileno(stderr); }";
    for (const flags of [
      ["-O1", "-fPIE"],
      ["-O1", "-fPIC"],
    ]) {
      using library = load(allocator, { "use.c": source }, flags);
      assert.equal(library.toFunction("use", NUMBER)(), 210);
    }
  });

  test("that are hidden are linked, and not to be had from outside", () => {
    using allocator = new JitAllocator();
    using library = load(allocator, {
      "own.c": '__attribute__((visibility("hidden"))) int hidden(void) { return 5; }',
      "use.c": "int hidden(void); int use(void) { return hidden(); }",
    });
    assert.equal(library.toFunction("use", NUMBER)(), 5);
    assert.throws(() => library.addressOf("hidden"), new LinkError("made.a does not define hidden"));
  });

  test("that are weak may be missing, by call, by address and through the table", () => {
    using allocator = new JitAllocator();
    const source =
      "__attribute__((weak)) int missing(void); __attribute__((weak)) extern int nowhere;" +
      "int use(void) { return missing ? missing() : &nowhere ? 1 : 2; }";
    using library = load(allocator, { "use.c": source }, ["-O1", "-fPIC"]);
    assert.equal(library.toFunction("use", NUMBER)(), 2);
  });

  test("in common have one place", () => {
    using allocator = new JitAllocator();
    using library = load(
      allocator,
      {
        "one.c": "int shared; void set(int n) { shared = n; }",
        "two.c": "int shared; int get(void) { return shared; }",
      },
      ["-O1", "-fcommon"],
    );
    library.toFunction("set", { parameters: ["i32"], result: "void" })(77);
    assert.equal(library.toFunction("get", NUMBER)(), 77);
    assert.equal(allocator.query(library.addressOf("shared")).kind, "data");
  });

  test("of a group are kept once, also where each object describes its frames", () => {
    using allocator = new JitAllocator();
    const group = (value: number): string => `__asm__(
      ".section .text.same,\\"axG\\",@progbits,same,comdat\\n .weak same\\n .type same, @function\\n"
      "same: .cfi_startproc\\n mov $${value}, %eax\\n ret\\n .cfi_endproc\\n .size same, . - same\\n .text\\n");
      int same(void);`;
    using library = load(allocator, {
      "one.c": `${group(1)} int one(void) { return same(); }`,
      "two.c": `${group(2)} int two(void) { return same(); }`,
    });
    assert.equal(library.toFunction("one", NUMBER)(), 1);
    assert.equal(library.toFunction("two", NUMBER)(), 1);
  });
});

test("a symbol in an empty section has an address", { skip }, () => {
  using allocator = new JitAllocator();
  const source =
    '__asm__(".data\\n .globl nothing\\n nothing:\\n .text"); extern char nothing; char *use(void) { return &nothing; }';
  using library = load(allocator, { "use.c": source }, ["-O1", "-fPIC"]);
  const use = library.toFunction("use", { parameters: [], result: "pointer" });
  assert.equal(use(), library.addressOf("nothing"));
});

describe("what runs by itself", { skip }, () => {
  test("constructors in the order of their priorities, destructors the other way round", () => {
    using allocator = new JitAllocator();
    const calls: number[] = [];
    using callback = toPointer((n) => void calls.push(n), { parameters: ["i32"], result: "void" });
    const marked = (attribute: string, n: number): string =>
      `__attribute__((${attribute})) static void f${n}(void) { note(${n}); }`;
    const library = load(
      allocator,
      {
        "one.c": `void note(int); ${marked("constructor", 3)} ${marked("constructor(200)", 2)} ${marked("destructor", 4)}`,
        "two.c": `void note(int); ${marked("constructor(101)", 1)} ${marked("destructor(101)", 5)}`,
      },
      ["-O1"],
      { symbols: new Map([["note", callback.address]]) },
    );
    assert.deepEqual(calls, [1, 2, 3]);
    library[Symbol.dispose]();
    library[Symbol.dispose]();
    assert.deepEqual(calls, [1, 2, 3, 4, 5]);
    assert.equal(allocator.statistics().allocationCount, 0);
  });

  test("an error in a destructor comes out, and the memory is released all the same", () => {
    using allocator = new JitAllocator();
    const error = new Error("not at the end");
    using callback = toPointer(
      () => {
        throw error;
      },
      { parameters: [], result: "void" },
    );
    const source = "void fail(void); __attribute__((destructor)) static void end(void) { fail(); }";
    const symbols = new Map([["fail", callback.address]]);
    const library = load(allocator, { "end.c": source }, ["-O1"], { symbols });
    assert.throws(
      () => library[Symbol.dispose](),
      (thrown) => thrown === error,
    );
    assert.equal(allocator.statistics().allocationCount, 0);
  });

  test("an error in a constructor comes out, and nothing is left", () => {
    using allocator = new JitAllocator();
    const error = new Error("not today");
    using callback = toPointer(
      () => {
        throw error;
      },
      { parameters: [], result: "void" },
    );
    const symbols = new Map([["fail", callback.address]]);
    const source = "void fail(void); __attribute__((constructor)) static void start(void) { fail(); }";
    assert.throws(
      () => load(allocator, { "start.c": source }, ["-O1"], { symbols }),
      (thrown) => thrown === error,
    );
    assert.equal(allocator.statistics().allocationCount, 0);
    allocator.verify();
  });
});

test("the unwinder of C finds its way through linked code", { skip }, () => {
  using allocator = new JitAllocator();
  const source = `
    #include <unwind.h>
    static long found[3];
    static int count;
    static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *nothing) {
      found[count++] = (long)_Unwind_GetIP(context);
      return count == 3 ? _URC_NORMAL_STOP : _URC_NO_REASON;
    }
    __attribute__((noinline)) long inner(int index) { count = 0; _Unwind_Backtrace(visit, 0); return found[index]; }
    __attribute__((noinline)) long middle(int index) { return inner(index) + 0 * count; }
    long outer(int index) { return middle(index) + 0 * count; }`;
  using library = load(allocator, { "trace.c": source }, ["-O0", "-fomit-frame-pointer"], {
    libraries: ["libc.so.6", "libgcc_s.so.1"],
  });
  const outer = library.toFunction("outer", { parameters: ["i32"], result: "i64" });
  const starts = ["inner", "middle", "outer"].map((name) => library.addressOf(name));
  for (const [index, start] of starts.entries()) {
    const frame: Address = Number(outer(index));
    const next = starts[index + 1] ?? allocator.query(start).rx + allocator.query(start).size;
    assert.ok(frame > start && frame < next, `frame ${index} is at ${frame}`);
  }
});

describe("what cannot be linked is an error that says where, and leaves nothing", { skip }, () => {
  const cases: readonly (readonly [string, Sources, readonly string[], string | RegExp])[] = [
    [
      "symbols that are nowhere, all of them at once",
      { "use.c": "int a_far(int); extern int b_far; int use(int n) { return a_far(n) + b_far; }" },
      ["-O1", "-fPIC"],
      new RegExp(
        "^made\\.a needs what is not defined in it, libc\\.so\\.6, libm\\.so\\.6:\n" +
          "  a_far, which made\\.a\\(use\\.o\\), \\.text\\+0x[0-9a-f]+ in use needs\n" +
          "  b_far, which made\\.a\\(use\\.o\\), \\.text\\+0x[0-9a-f]+ in use needs$",
      ),
    ],
    [
      "a thread-local variable of an executable",
      { "use.c": "__thread int mine; int use(void) { return ++mine; }" },
      ["-O1", "-fPIE"],
      /^made\.a\(use\.o\), \.text\+0x[0-9a-f]+ in use, for mine: R_X86_64_TPOFF32 is of a thread-local variable: only the C library reserves memory for each thread\. Compile it without __thread, or load it as a shared library$/,
    ],
    [
      "a thread-local variable of a shared library",
      { "use.c": "extern __thread int theirs; int use(void) { return ++theirs; }" },
      ["-O1", "-fPIC"],
      /^made\.a\(use\.o\), \.text\+0x[0-9a-f]+ in use, for theirs: R_X86_64_TLSGD is of a thread-local variable/,
    ],
    [
      "a thread-local variable that nobody uses",
      { "own.c": "__thread int mine = 4; int use(void) { return 1; }" },
      ["-O1"],
      /^made\.a\(own\.o\): section \.tdata is thread-local: only the C library reserves memory for each thread/,
    ],
    [
      "a variable out of reach",
      { "use.c": "extern char **environ; char **use(void) { return environ; }" },
      ["-O1", "-fPIE"],
      /^made\.a\(use\.o\), \.text\+0x[0-9a-f]+ in use: R_X86_64_PC32 does not reach environ, which is 0x[0-9a-f]+ bytes away: it reaches 2 GiB\. Compile with -fPIC, to load its address$/,
    ],
    [
      "code for a fixed address",
      { "use.c": "static int own[9]; int *use(int n) { return &own[n]; }" },
      ["-O1", "-fno-pic"],
      /^made\.a\(use\.o\), \.text\+0x[0-9a-f]+ in use: R_X86_64_32S does not reach \.bss at 0x[0-9a-f]+: it holds 32 bits\. The code is for a fixed address; compile it with -fPIC$/,
    ],
    [
      "the medium code model",
      { "use.c": "int big[100000]; int use(void) { return big[7]; }" },
      ["-O1", "-fPIC", "-mcmodel=large"],
      /^made\.a\(use\.o\), \.text\+0x[0-9a-f]+ in use, for _GLOBAL_OFFSET_TABLE_: relocations of type 29 are unknown to this linker\. Compile it with -fPIC, in the small code model$/,
    ],
    [
      "a function that is chosen when it is loaded",
      {
        "use.c":
          "static int one(void) { return 1; } static void *choose(void) { return one; }" +
          'int chosen(void) __attribute__((ifunc("choose"))); int use(void) { return chosen(); }',
      },
      ["-O1"],
      /^made\.a\(use\.o\), \.text\+0x[0-9a-f]+ in use: chosen is chosen when it is loaded \(IFUNC\), which this linker does not do$/,
    ],
    [
      "a name twice",
      { "one.c": "int f(void) { return 1; }", "two.c": "int f(void) { return 2; }" },
      [],
      /^f is defined twice: /,
    ],
    [
      "no machine code",
      { "use.c": "int use(void) { return 1; }" },
      ["-O1", "-flto", "-fno-fat-lto-objects"],
      "made.a(use.o) has no machine code: it was compiled for link-time optimisation alone (-flto)",
    ],
    ["nothing to call", { "data.c": "int value = 1;" }, [], "made.a has no code"],
  ];
  for (const [title, sources, flags, message] of cases) {
    test(title, () => {
      using allocator = new JitAllocator();
      assert.throws(
        () => load(allocator, sources, flags),
        (error) => {
          assert.ok(error instanceof LinkError, String(error));
          if (typeof message === "string") assert.equal(error.message, message);
          else assert.match(error.message, message);
          return true;
        },
      );
      assert.equal(allocator.statistics().allocationCount, 0);
      allocator.verify();
    });
  }

  test("a truncated archive", () => {
    using allocator = new JitAllocator();
    const archive = compileArchive(PROGRAM);
    const cut = archive.subarray(0, archive.length - 100);
    assert.throws(
      () => LoadedLibrary.fromBytes(allocator, "made.a", cut),
      /^LinkError: made\.a is truncated: its member more\.o reaches from 0x[0-9a-f]+ to 0x[0-9a-f]+, and the file ends at/,
    );
    assert.equal(allocator.statistics().allocationCount, 0);
  });
});
