/** Operations that are called with hardly any stack left: each happens, or throws a RangeError and has changed nothing. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { JitAllocator, type JitAllocatorOptions, type Span } from "../../src/index.ts";
import { platform } from "../../src/base/platform.ts";
import { Random } from "../support/random.ts";
import { needs } from "../support/requirements.ts";

/** Frames below the end of the stack at which an operation is tried, one after the other. */
const FRAMES = 800;

/** Recurses until the stack ends, and calls `act` in the frame that is so many above. */
function nearTheEnd(frames: number, act: () => void): void {
  let above = 0;
  const descend = (): void => {
    try {
      descend();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    above += 1;
    if (above === frames) act();
  };
  descend();
}

/** Allocates, releases, shrinks and asks for tokens at random, all of what it has. */
class Program {
  readonly allocator: JitAllocator;
  readonly spans: Span[] = [];
  readonly #random = new Random(20261125);

  constructor(allocator: JitAllocator) {
    this.allocator = allocator;
  }

  step(): void {
    const { allocator, spans } = this;
    const chosen = this.#random.below(10);
    const index = this.#random.below(spans.length + 1);
    const span = spans[index];
    if (span === undefined || spans.length < 20 || chosen < 5) {
      spans.push(allocator.alloc(1 + this.#random.below(chosen === 0 ? 30000 : 3000)));
    } else if (chosen < 8) {
      allocator.release(span);
      spans.splice(index, 1);
    } else if (chosen === 8) {
      allocator.shrink(span, Math.max(1, span.size >> 1));
    } else {
      assert.equal(allocator.query(span.rx).token.rx, span.rx);
    }
  }

  /** Calls all that is ever called, for a while: what is called the first time needs more stack than it may have later. */
  warmUp(): void {
    const { allocator, spans } = this;
    for (let round = 0; round < 6; round++) {
      for (let step = 0; step < 400; step++) this.step();
      for (let i = 0; i < 40; i++) spans.push(allocator.alloc(64 + 640 * i));
      // Many in a row, of each length; in the end all, so that blocks become empty.
      for (const span of spans.splice(round % 2 === 0 ? 0 : spans.length >> 1)) allocator.release(span);
    }
  }

  /** What lies there is what was handed out, and nothing twice. */
  check(): void {
    this.allocator.verify();
    const ranges = this.spans.map(({ rx, size }) => ({ rx, end: rx + size })).sort((a, b) => a.rx - b.rx);
    for (const [index, { end }] of ranges.entries()) {
      assert.ok(end <= (ranges[index + 1]?.rx ?? Infinity), "two live allocations overlap");
    }
    assert.equal(this.allocator.statistics().allocationCount, this.spans.length);
  }
}

const CONFIGURATIONS: readonly JitAllocatorOptions[] = [
  {},
  { useDualMapping: false, immediateRelease: true },
  { useMultiplePools: true },
  { fillUnusedMemory: true },
];

describe("at the end of the stack", { skip: needs("v8") }, () => {
  let refused = 0;

  // First of all: what runs the first time has to be compiled, which takes more stack than anything else.
  for (const [name, act] of Object.entries({
    reset: (allocator: JitAllocator) => allocator.reset("hard"),
    disposal: (allocator: JitAllocator) => allocator.dispose(),
  })) {
    test(`a ${name} happens, or nothing does`, () => {
      for (let frames = 1; frames <= FRAMES; frames++) {
        const allocator = new JitAllocator();
        for (let i = 0; i < 5; i++) allocator.alloc(20000);
        const before = { ...allocator.statistics() };
        nearTheEnd(frames, () => {
          try {
            act(allocator);
          } catch (error) {
            if (!(error instanceof RangeError)) throw error;
          }
        });
        allocator.verify();
        const { blockCount } = allocator.statistics();
        if (blockCount !== 0) assert.deepEqual({ ...allocator.statistics() }, before);
        else continue;
        act(allocator);
      }
    });
  }

  for (const options of CONFIGURATIONS) {
    test(`each operation happens, or nothing does: ${JSON.stringify(options)}`, () => {
      using allocator = new JitAllocator(options);
      const program = new Program(allocator);
      program.warmUp();
      for (let frames = 1; frames <= FRAMES; frames++) {
        for (let round = 0; round < 4; round++) {
          const before = { ...allocator.statistics() };
          let isRefused = false as boolean;
          nearTheEnd(frames, () => {
            try {
              program.step();
            } catch (error) {
              if (!(error instanceof RangeError)) throw error;
              isRefused = true;
            }
          });
          if (!isRefused) continue;
          refused += 1;
          assert.deepEqual({ ...allocator.statistics() }, before);
        }
        if (frames % 16 === 0) program.check();
      }
      program.check();
    });
  }

  test("the stack did end", () => assert.ok(refused > 50, `only ${refused} operations were refused`));
});

describe(
  "a thread with a small stack",
  { skip: needs("v8") || (platform.runtime === "node" ? false : "it is a flag of Node") },
  () => {
    const index = new URL("../../src/index.js", import.meta.url).href;
    const program = `
    import(${JSON.stringify(index)}).then(({ JitAllocator, toFunction }) => {
      const allocator = new JitAllocator();
      const span = allocator.alloc(64);
      span.write(0, Uint8Array.of(0xc3));
      span.release();
      allocator.share();
      allocator.verify();
      console.log("done");
    }).catch((error) => console.log(error.name, error.code, /--stack-size/.test(error.message)));`;

    for (const kilobytes of [80, 100, 120, 150, 200, 300]) {
      test(`--stack-size=${kilobytes}: the work is done, or it is said what is missing`, () => {
        const run = spawnSync(process.execPath, [`--stack-size=${kilobytes}`, "-e", program], {
          encoding: "utf8",
          env: { ...process.env, NODE_V8_COVERAGE: "" },
        });
        // What Node itself cannot do with so little is not about this library.
        if (run.stdout === "" && run.status !== 0) return;
        assert.ok(
          ["done\n", "JitError ERR_OUT_OF_MEMORY true\n"].includes(run.stdout),
          run.stdout + run.stderr,
        );
      });
    }
  },
);
