/** The example's code cache: what it evicts, when, and that nothing is lost or counted twice. With one thread, and shared. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CodeCache } from "../../examples/code-cache/cache.ts";
import { JitAllocator, toFunction, toPointer, type Span } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { throwsJitError } from "../support/expectations.ts";
import * as machineCode from "../support/native-code.ts";
import { seededRandom } from "../support/random-brainf.ts";
import { needs } from "../support/requirements.ts";

const KiB = 1024;
const COLD = Uint8Array.of(0xc3);

/** Emits so many bytes of code, or asks for more room. */
function bytes(length: number, fill = 0x90): (code: Uint8Array) => number | undefined {
  return (code) => {
    if (code.length < length) return undefined;
    code.fill(fill, 0, length);
    return length;
  };
}

class Subject {
  readonly allocator: JitAllocator;
  readonly cache: CodeCache<string>;
  readonly evicted: string[] = [];
  readonly limitBytes: number;

  constructor(allocator: JitAllocator, budgetBytes: number, keys = "ABCD") {
    this.allocator = allocator;
    this.cache = new CodeCache({ allocator, budgetBytes, onEvict: (key) => this.evicted.push(key) });
    for (const key of keys) this.cache.declare(key, COLD);
    this.limitBytes = this.usedSize + budgetBytes;
  }

  compile(keys: string, size: number): void {
    for (const key of keys) assert.equal(this.cache.compile(key, size, bytes(size))?.size, size, key);
  }

  /** Where code that calls a function gets to. */
  targetOf(key: string): number {
    const cell = this.allocator.query(this.cache.addressOf(key) ?? 0).read(8, 8);
    return Number(new DataView(cell.buffer, cell.byteOffset).getBigUint64(0, true));
  }

  get usedSize(): number {
    return usedSizeOf(this.allocator);
  }
}

/** What is in use, but for what will come back, and for the padding of blocks. */
function usedSizeOf(allocator: JitAllocator): number {
  const { usedSize, retiredSize, blockCount } = allocator.statistics();
  return usedSize - retiredSize - 64 * blockCount;
}

for (const isShared of [false, true]) {
  const make = (maxReservedSize = 1024 * KiB): JitAllocator => {
    const allocator = new JitAllocator({ maxReservedSize }, new SimulatedMemory());
    if (isShared) allocator.share();
    return allocator;
  };

  describe(`the code cache, ${isShared ? "shared" : "in one thread"}`, () => {
    test("what was not used for longest goes first, the newest last", () => {
      using allocator = make();
      const { cache, evicted, compile } = bound(new Subject(allocator, 12 * KiB));
      compile("ABC", 4 * KiB);
      cache.use("C");
      compile("D", 4 * KiB);
      assert.deepEqual(evicted, ["A"]);
      cache.use("B");
      compile("A", 4 * KiB);
      assert.deepEqual(evicted, ["A", "C"], "B was used since");
      assert.deepEqual(
        ["A", "B", "C", "D"].map((key) => cache.use(key)),
        [true, true, false, true],
      );
    });

    test("under pressure too: what was compiled and used last goes last", () => {
      using allocator = make();
      const { cache, evicted, compile } = bound(new Subject(allocator, 16 * KiB));
      compile("ABC", 4 * KiB);
      cache.use("C");
      allocator.alloc(5 * KiB);
      assert.deepEqual(evicted, ["A"]);
      allocator.alloc(4 * KiB);
      allocator.alloc(4 * KiB);
      assert.deepEqual(evicted, ["A", "B", "C"]);
    });

    for (const first of [4096, 4160, 64, 4032])
      test(`the use reaches the limit by steps of ${first} and 4096 bytes: it is asked each time`, () => {
        using allocator = make();
        const subject = new Subject(allocator, 16 * KiB);
        subject.compile("ABC", 4 * KiB);
        let size = first;
        for (let times = 0; times < 20; times++) {
          allocator.alloc(size);
          size = 4 * KiB;
          assert.ok(
            subject.usedSize <= subject.limitBytes || subject.cache.usedBytes === 0,
            `after ${times}: ${subject.usedSize} of ${subject.limitBytes}, ${subject.cache.usedBytes} hot`,
          );
        }
        assert.deepEqual(subject.evicted, ["A", "B", "C"]);
      });

    test("exactly what there is room for evicts nothing", () => {
      using allocator = make();
      const subject = new Subject(allocator, 16 * KiB);
      subject.compile("ABC", 4 * KiB);
      allocator.alloc(4 * KiB);
      assert.deepEqual(subject.evicted, []);
      allocator.alloc(64);
      assert.deepEqual(subject.evicted, ["A"]);
    });

    test("code that is compiled above the limit does not stay", () => {
      using allocator = make();
      const subject = new Subject(allocator, 8 * KiB);
      const own = allocator.alloc(64 * KiB);
      assert.equal(subject.cache.compile("A", 4 * KiB, bytes(4 * KiB)), undefined);
      assert.equal(subject.cache.usedBytes, 0);
      assert.equal(subject.cache.use("A"), false);
      own.release();
      subject.compile("A", 4 * KiB);
      assert.equal(subject.cache.usedBytes, 4 * KiB);
      assert.equal(subject.cache.report.evicted, subject.evicted.length);
    });

    test("a function that is compiled again has its new code, and the old code goes", () => {
      using allocator = make();
      const subject = new Subject(allocator, 64 * KiB);
      const { cache } = subject;
      const before = subject.usedSize;
      const first = cache.compile("A", 4 * KiB, bytes(4 * KiB));
      const second = cache.compile("A", 8 * KiB, bytes(8 * KiB));
      assert.equal(first?.isReleased, true);
      assert.equal(second?.isReleased, false);
      assert.equal(cache.usedBytes, 8 * KiB);
      assert.equal(subject.usedSize, before + 8 * KiB);
      assert.equal(subject.targetOf("A"), second.rx);
      assert.deepEqual(cache.report, { compiled: 2, evicted: 0, refused: 0, peakBytes: 8 * KiB });
      assert.deepEqual(subject.evicted, []);
    });

    test("a function that is compiled again needs room for its new code alone", () => {
      using allocator = make();
      const subject = new Subject(allocator, 8 * KiB);
      subject.compile("AB", 4 * KiB);
      subject.compile("A", 4 * KiB);
      assert.deepEqual(subject.evicted, []);
      assert.equal(subject.cache.compile("A", 64, bytes(8 * KiB))?.size, 8 * KiB);
      assert.deepEqual(subject.evicted, ["B"]);
      assert.equal(subject.cache.compile("A", 64, bytes(8 * KiB + 1)), undefined);
      assert.equal(subject.cache.usedBytes, 8 * KiB, "it keeps what it has");
      assert.equal(subject.cache.report.refused, 1);
    });

    test("a guess evicts nothing: only what the code takes does", () => {
      using allocator = make();
      const subject = new Subject(allocator, 16 * KiB);
      subject.compile("ABC", 4 * KiB);
      assert.equal(subject.cache.compile("D", 500 * KiB, bytes(100))?.size, 128);
      assert.deepEqual(subject.evicted, []);
      assert.equal(subject.cache.usedBytes, 12 * KiB + 128);
    });

    test("emit that throws leaves the function, and all others, as they were", () => {
      using allocator = make();
      const subject = new Subject(allocator, 8 * KiB);
      subject.compile("AB", 4 * KiB);
      const before = subject.usedSize;
      const target = subject.targetOf("A");
      const own = new Error("no such opcode");
      for (const key of ["A", "C"])
        assert.throws(
          () =>
            subject.cache.compile(key, 4 * KiB, () => {
              throw own;
            }),
          (error) => error === own,
        );
      for (const length of [0, -1, 1.5, NaN, 4 * KiB + 1])
        assert.throws(() => subject.cache.compile("C", 4 * KiB, () => length), RangeError, `${length}`);
      assert.equal(subject.usedSize, before);
      assert.equal(subject.targetOf("A"), target);
      assert.deepEqual(subject.evicted, []);
      assert.deepEqual(subject.cache.report, { compiled: 2, evicted: 0, refused: 0, peakBytes: 8 * KiB });
      allocator.verify();
    });

    test("a function larger than the budget is refused, however little emit says at a time", () => {
      using allocator = make();
      const subject = new Subject(allocator, 8 * KiB);
      subject.compile("A", 4 * KiB);
      const before = subject.usedSize;
      let calls = 0;
      const never = (): undefined => {
        calls += 1;
      };
      assert.equal(subject.cache.compile("B", 64, never), undefined);
      assert.ok(calls <= 8, `${calls} calls`);
      assert.equal(subject.cache.compile("B", 64, bytes(8 * KiB + 1)), undefined);
      assert.equal(subject.usedSize, before);
      assert.deepEqual(subject.evicted, [], "nobody has to go for it");
      assert.equal(subject.cache.report.refused, 2);
    });

    for (const budgetBytes of [0, 1, 63, 63.9])
      test(`a budget of ${budgetBytes} bytes holds nothing`, () => {
        using allocator = make();
        const subject = new Subject(allocator, budgetBytes);
        const before = subject.usedSize;
        assert.equal(subject.cache.compile("A", 64, bytes(1)), undefined);
        assert.equal(subject.cache.report.refused, 1);
        assert.equal(subject.cache.report.peakBytes, 0);
        assert.equal(subject.usedSize, before);
      });

    for (const [budgetBytes, size] of [
      [64, 64],
      [127, 64],
      [1000.5, 960],
    ] as const)
      test(`a budget of ${budgetBytes} bytes holds ${size}`, () => {
        using allocator = make();
        const subject = new Subject(allocator, budgetBytes);
        assert.equal(subject.cache.compile("A", 4 * KiB, bytes(size - 1))?.size, size);
        assert.equal(subject.cache.compile("B", 4 * KiB, bytes(size + 1)), undefined);
        assert.deepEqual(subject.evicted, []);
        subject.compile("B", size);
        assert.deepEqual(subject.evicted, ["A"]);
        assert.equal(subject.cache.report.peakBytes, size);
      });

    test("no bound at all: an infinite budget, or one above what the allocator may reserve", () => {
      for (const budgetBytes of [Infinity, 2 ** 40]) {
        using allocator = make(256 * KiB);
        const keys = Array.from({ length: 300 }, (_, index) => String.fromCharCode(1000 + index)).join("");
        const subject = new Subject(allocator, budgetBytes, keys);
        subject.compile(keys, 4 * KiB);
        assert.ok(subject.evicted.length > 200, "out of memory evicts");
        throwsJitError("ERR_OUT_OF_MEMORY", () => subject.cache.compile("\u03e8", 1024 * KiB, bytes(1)));
        assert.equal(subject.cache.usedBytes, 0);
        subject.compile("\u03e8", 4 * KiB);
        allocator.verify();
      }
    });

    test("what is no budget is refused", () => {
      using allocator = make();
      for (const budgetBytes of [-1, NaN, -Infinity])
        assert.throws(
          () => new CodeCache({ allocator, budgetBytes, onEvict: () => undefined }),
          RangeError,
          `${budgetBytes}`,
        );
    });

    test("declaring takes nothing of the budget, before and after the first compilation", () => {
      using allocator = make();
      const subject = new Subject(allocator, 8 * KiB, "AB");
      subject.compile("AB", 4 * KiB);
      for (let index = 0; index < 500; index++) subject.cache.declare(`later ${index}`, COLD);
      assert.deepEqual(subject.evicted, []);
      allocator.alloc(64);
      assert.deepEqual(subject.evicted, ["A"], "but what the program allocates does");
    });

    test("a function is declared once, and compiled only if it was", () => {
      using allocator = make();
      const { cache, allocator: same } = new Subject(allocator, 8 * KiB);
      const before = same.statistics();
      assert.throws(() => cache.declare("A", COLD), /declared twice/);
      assert.throws(() => cache.compile("unknown", 64, bytes(1)), /not declared/);
      assert.equal(cache.addressOf("unknown"), undefined);
      assert.equal(cache.use("unknown"), false);
      assert.equal(cache.use("A"), false);
      assert.deepEqual(same.statistics(), before);
    });

    test("a declaration that is refused leaves nothing", () => {
      using allocator = make(64 * KiB);
      const subject = new Subject(allocator, 1024, "");
      const spans: Span[] = [];
      const fill = (): Span[] => {
        for (;;)
          try {
            spans.push(allocator.alloc(64));
          } catch {
            return spans;
          }
      };
      fill().pop()?.release(); // room for the cold code, not for the veneer
      const before = subject.usedSize;
      throwsJitError("ERR_OUT_OF_MEMORY", () => subject.cache.declare("A", COLD));
      assert.equal(subject.usedSize, before);
      assert.equal(subject.cache.addressOf("A"), undefined);
      fill().pop()?.release();
      spans.pop()?.release();
      spans.pop()?.release();
      assert.notEqual(subject.cache.declare("A", COLD), 0);
    });

    test("emit that allocates, and emit that compiles another function, and itself", () => {
      using allocator = make();
      const subject = new Subject(allocator, 12 * KiB);
      const { cache } = subject;
      subject.compile("A", 4 * KiB);
      const hot = cache.compile("B", 4 * KiB, (code) => {
        allocator.alloc(4 * KiB);
        assert.deepEqual(subject.evicted, [], "nothing goes in the middle");
        subject.compile("C", 4 * KiB);
        return bytes(4 * KiB)(code);
      });
      assert.deepEqual(subject.evicted, ["A"]);
      assert.equal(hot?.isReleased, false);
      assert.equal(cache.usedBytes, 8 * KiB);
      assert.ok(subject.usedSize <= subject.limitBytes);
      const again = cache.compile("B", 4 * KiB, (code) => {
        subject.compile("B", 2 * KiB);
        return bytes(4 * KiB)(code);
      });
      assert.equal(subject.targetOf("B"), again?.rx);
      assert.equal(cache.usedBytes, 8 * KiB);
      assert.equal(hot.isReleased, true);
    });

    test("onEvict that throws: the error gets to who has evicted, and everything is counted", () => {
      using allocator = make();
      const own = new Error("mine");
      let throws = true;
      const cache = new CodeCache<string>({
        allocator,
        budgetBytes: 8 * KiB,
        onEvict: () => {
          if (throws) throw own;
        },
      });
      for (const key of "ABC") cache.declare(key, COLD);
      const first = cache.compile("A", 8 * KiB, bytes(8 * KiB));
      assert.throws(
        () => allocator.alloc(64),
        (error) => error === own,
      );
      assert.equal(first?.isReleased, true);
      assert.deepEqual(cache.report, { compiled: 1, evicted: 1, refused: 0, peakBytes: 8 * KiB });
      assert.equal(cache.usedBytes, 0);
      cache.compile("B", 8 * KiB, bytes(8 * KiB));
      assert.throws(
        () => cache.compile("C", 8 * KiB, bytes(8 * KiB)),
        (error) => error === own,
      );
      throws = false;
      cache.compile("A", 8 * KiB, bytes(8 * KiB));
      assert.equal(cache.usedBytes, 8 * KiB);
      allocator.alloc(64);
      assert.equal(cache.usedBytes, 0, "it is still asked");
      allocator.verify();
    });

    test("what is retired while code runs is not what there is too much of", () => {
      using allocator = make();
      const subject = new Subject(allocator, 16 * KiB);
      subject.compile("ABCD", 4 * KiB);
      allocator.enter();
      allocator.alloc(64);
      assert.deepEqual(subject.evicted, ["A"]);
      for (let times = 0; times < 64; times++) allocator.alloc(64);
      assert.deepEqual(subject.evicted, ["A", "B"], "it is asked again, though the use did not fall");
      assert.equal(allocator.statistics().retiredSize, 8 * KiB);
      subject.compile("A", 4 * KiB);
      assert.deepEqual(subject.evicted, ["A", "B", "C"]);
      assert.ok(subject.usedSize <= subject.limitBytes);
      allocator.leave();
      allocator.alloc(64).release();
      assert.equal(allocator.statistics().retiredSize, 0);
      assert.ok(subject.usedSize <= subject.limitBytes);
      allocator.verify();
    });

    test("forget gives back all of a function, dispose of all functions", () => {
      using allocator = make();
      allocator.alloc(64); // the block stays
      const empty = usedSizeOf(allocator);
      const subject = new Subject(allocator, 16 * KiB);
      const { cache } = subject;
      const declared = subject.usedSize;
      subject.compile("ABC", 4 * KiB);
      cache.forget("A");
      cache.forget("D");
      cache.forget("unknown");
      assert.equal(cache.usedBytes, 8 * KiB);
      assert.equal(subject.usedSize, declared - 2 * 128 + 8 * KiB);
      assert.equal(cache.addressOf("A"), undefined);
      cache.declare("A", COLD);
      subject.compile("A", 4 * KiB);
      allocator.alloc(4 * KiB).release();
      assert.deepEqual(subject.evicted, [], "the limit is where it was");
      const own = allocator.alloc(4 * KiB + 64);
      assert.deepEqual(subject.evicted, ["B"]);
      own.release();
      cache[Symbol.dispose]();
      assert.equal(subject.usedSize, empty);
      cache[Symbol.dispose]();
      allocator.alloc(512 * KiB);
      assert.deepEqual(subject.evicted, ["B"], "nobody is asked any more");
      assert.throws(() => cache.declare("E", COLD), /disposed/);
      assert.throws(() => cache.compile("B", 64, bytes(1)), /not declared/);
      allocator.verify();
    });

    test("a cache outlives its allocator", () => {
      const allocator = make();
      const subject = new Subject(allocator, 16 * KiB);
      subject.compile("A", 4 * KiB);
      allocator.dispose();
      throwsJitError("ERR_DISPOSED", () => subject.cache.compile("B", 64, bytes(1)));
      subject.cache[Symbol.dispose]();
    });

    test("whatever happens, the counts are right and nothing is lost", () => {
      for (let seed = 1; seed <= 40; seed++) randomLife(make(), seed);
    });
  });
}

function bound(subject: Subject): Pick<Subject, "cache" | "evicted"> & { compile: Subject["compile"] } {
  const { cache, evicted } = subject;
  return { cache, evicted, compile: (keys, size) => subject.compile(keys, size) };
}

/** Runs a program's life at random beside a model of what is hot. */
function randomLife(disposable: JitAllocator, seed: number): void {
  using allocator = disposable;
  const random = seededRandom(seed);
  const below = (count: number): number => Math.floor(random() * count);
  const hot = new Map<number, Span>();
  const declared = new Set<number>();
  const counts = { compiled: 0, evicted: 0, refused: 0 };
  allocator.alloc(64);
  const empty = usedSizeOf(allocator);
  const budgetBytes = below(16 * KiB);
  const cache = new CodeCache<number>({
    allocator,
    budgetBytes,
    onEvict: (key) => {
      counts.evicted += 1;
      // Code that is being replaced may go before what replaces it does.
      if (key !== compiling) assert.equal(hot.get(key)?.isReleased, false, "it is told before");
      hot.delete(key);
    },
  });
  const own: Span[] = [];
  let isInside = false;
  let compiling: number | undefined;
  for (let step = 0; step < 300; step++) {
    const about = `seed ${seed}, step ${step}`;
    const key = below(12);
    const what = below(10);
    if (!declared.has(key)) {
      cache.declare(key, COLD);
      declared.add(key);
    } else if (what < 5) {
      const size = 1 + below(6 * KiB);
      const throws = below(8) === 0;
      compiling = key;
      try {
        const span = cache.compile(key, 1 + below(8 * KiB), (code) => {
          if (throws) throw new RangeError("mine");
          if (below(8) === 0) own.push(allocator.alloc(1 + below(KiB)));
          return bytes(size)(code);
        });
        const { refused } = cache.report;
        if (span !== undefined) hot.set(key, span);
        if (refused === counts.refused) counts.compiled += 1;
        counts.refused = refused;
        if (Math.ceil(size / 64) * 64 > budgetBytes) assert.equal(span, undefined, about);
      } catch (error) {
        if (!(error instanceof RangeError && throws)) throw error;
      }
      compiling = undefined;
    } else if (what === 5) {
      assert.equal(cache.use(key), hot.has(key), about);
    } else if (what === 6) {
      own.push(allocator.alloc(1 + below(3 * KiB)));
    } else if (what === 7) {
      own.splice(below(own.length), 1)[0]?.release();
    } else if (what === 8 && below(4) === 0) {
      cache.forget(key);
      declared.delete(key);
      hot.delete(key);
    } else if (what === 9) {
      if (isInside) allocator.leave();
      else allocator.enter();
      isInside = !isInside;
    }
    const hotBytes = [...hot.values()].reduce((sum, { size }) => sum + size, 0);
    assert.equal(cache.usedBytes, hotBytes, about);
    assert.deepEqual({ ...cache.report, peakBytes: 0 }, { ...counts, peakBytes: 0 }, about);
    assert.ok(cache.report.peakBytes <= budgetBytes && hotBytes <= cache.report.peakBytes, about);
    for (const span of hot.values()) assert.equal(span.isReleased, false, about);
    const { retiredSize } = allocator.statistics();
    const ownBytes = own.reduce((sum, { size }) => sum + size, 0);
    assert.equal(usedSizeOf(allocator), empty + declared.size * 128 + hotBytes + ownBytes, about);
    if (!isInside && retiredSize === 0)
      assert.ok(
        hotBytes === 0 || hotBytes + ownBytes <= budgetBytes,
        `${about}: ${hotBytes} and ${ownBytes}`,
      );
  }
  if (isInside) allocator.leave();
  cache[Symbol.dispose]();
  for (const span of own) span.release();
  allocator.alloc(64).release();
  assert.equal(usedSizeOf(allocator), empty, `seed ${seed}`);
  allocator.verify();
}

test(
  "code that is evicted while it runs, below its own callback, runs to its end",
  { skip: needs("machineCode") },
  () => {
    using allocator = new JitAllocator({ maxReservedSize: 1024 * KiB, fillUnusedMemory: true });
    const evicted: string[] = [];
    using cache = new CodeCache<string>({
      allocator,
      budgetBytes: 4 * KiB,
      onEvict: (key) => evicted.push(key),
    });
    const signature = { parameters: [], result: "i32" } as const;
    const coldAddress = cache.declare("caller", machineCode.returnConstant(-1));
    cache.declare("other", machineCode.returnConstant(-2));
    const call = toFunction(allocator.query(coldAddress), signature);
    assert.equal(call(), -1);
    using callback = toPointer(() => {
      const other = cache.compile("other", 4 * KiB, (code) => {
        code.set(machineCode.returnConstant(7));
        return code.length;
      });
      assert.deepEqual(evicted, ["caller"]);
      assert.equal(other?.isReleased, false);
      // Memory that would be handed out if it were free is written over.
      for (let times = 0; times < 200; times++) allocator.alloc(64).write(0, new Uint8Array(64).fill(0xcc));
      assert.equal(call(), -1, "whoever calls it now gets to the cold code");
      return 41;
    }, signature);
    cache.compile("caller", 256, (code) => {
      const bytesOfCode = machineCode.callAndAddOne(callback.address);
      code.set(bytesOfCode);
      return bytesOfCode.length;
    });
    assert.equal(call(), 42);
    assert.equal(call(), -1);
    assert.deepEqual(evicted, ["caller", "other"], "what the callback allocated came off the budget");
    allocator.alloc(64);
    assert.equal(allocator.statistics().retiredSize, 0);
    allocator.verify();
  },
);
