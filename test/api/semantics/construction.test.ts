/** Options: defaults, every value in force, and everything that can never be right. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, type JitAllocatorOptions } from "../../../src/index.ts";
import { platform } from "../../../src/base/platform.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";
import { row, withAllocator } from "../../support/rows.ts";

const MiB = 1024 * 1024;

describe("options", () => {
  test("each has the default of the documentation", () => {
    withAllocator({}, (allocator) => {
      const { fillPattern, ...others } = allocator.options;
      assert.deepEqual(others, {
        useDualMapping: true,
        useMultiplePools: false,
        fillUnusedMemory: false,
        immediateRelease: false,
        disableInitialPadding: false,
        useLargePages: false,
        alignBlockSizeToLargePage: false,
        blockSize: 64 * 1024,
        granularity: 64,
        maxReservedSize: 2048 * MiB,
        useRange: true,
        near: undefined,
        sealed: false,
        reserveForMustSucceed: 0,
        protectWrites: "none",
      });
      assert.equal(fillPattern, allocator.fillPattern);
    });
  });

  test("default fill: int3 on x86, on others an instruction that traps (AArch64: BRK)", () => {
    withAllocator({}, ({ fillPattern }) => {
      assert.ok(Number.isInteger(fillPattern) && fillPattern > 0 && fillPattern <= 0xffff_ffff);
      if (platform.processor === "x64") assert.equal(fillPattern, 0xcccc_cccc);
      // BRK #imm16 is 1101_0100_001 imm16 00000.
      if (platform.processor === "arm64") assert.equal((fillPattern & 0xffe0_001f) >>> 0, 0xd420_0000);
    });
  });

  row("each value given is the value in force", {}, ({ allocator, options }) => {
    assert.equal(allocator.granularity, options.granularity);
    assert.equal(allocator.blockSize, options.blockSize);
    assert.equal(allocator.fillPattern, options.fillPattern);
    assert.equal(allocator.hasOption("useDualMapping"), options.useDualMapping);
    assert.equal(allocator.hasOption("useMultiplePools"), options.useMultiplePools);
    assert.equal(allocator.hasOption("fillUnusedMemory"), options.fillUnusedMemory);
    assert.equal(allocator.hasOption("immediateRelease"), options.immediateRelease);
    assert.equal(allocator.hasOption("disableInitialPadding"), options.disableInitialPadding);
    assert.equal(allocator.hasOption("useLargePages"), options.useLargePages);
    assert.equal(allocator.hasOption("alignBlockSizeToLargePage"), options.alignBlockSizeToLargePage);
  });

  test("an option given as undefined has its default", () => {
    const allocator = new JitAllocator(
      wrong<JitAllocatorOptions>({ blockSize: undefined, useDualMapping: undefined }),
      new SimulatedMemory(),
    );
    assert.equal(allocator.blockSize, 64 * 1024);
    assert.equal(allocator.hasOption("useDualMapping"), true);
    allocator[Symbol.dispose]();
  });

  test("the options in force do not follow the caller's object", () => {
    const given: JitAllocatorOptions = { granularity: 128 };
    withAllocator(given, (allocator) => {
      given.granularity = 256;
      assert.equal(allocator.granularity, 128);
      assert.equal(allocator.options.granularity, 128);
    });
  });

  test("-0 is 0", () => {
    const given = { fillPattern: -0, reserveForMustSucceed: -0, near: -0 };
    const allocator = new JitAllocator(given, new SimulatedMemory({ hasRanges: true }));
    const { fillPattern, reserveForMustSucceed, near } = allocator.options;
    assert.deepStrictEqual(
      { fillPattern, reserveForMustSucceed, near },
      { fillPattern: 0, reserveForMustSucceed: 0, near: 0 },
    );
  });

  test("protectWrites is refused for the option that stands in its way", () => {
    for (const [options, why] of [
      [{ useRange: false }, "useRange is false"],
      [{ useDualMapping: false }, "useDualMapping is false"],
      [{ useRange: false, useDualMapping: false }, "useRange and useDualMapping are false"],
      [{ sealed: true }, "sealed is true"],
    ] satisfies [JitAllocatorOptions, string][]) {
      const memory = new SimulatedMemory({ hasRanges: true });
      const make = (): unknown => new JitAllocator({ protectWrites: "keys", ...options }, memory);
      assert.ok(throwsJitError("ERR_INVALID_ARGUMENT", make).message.endsWith(`"none" where ${why}`));
    }
  });

  test("hasOption of a name that is no boolean option: ERR_INVALID_ARGUMENT", () => {
    withAllocator({}, (allocator) => {
      for (const name of ["blockSize", "nonsense", "__proto__", "toString", undefined, null, 1]) {
        throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.hasOption(wrong(name)), String(name));
      }
    });
  });

  test("invalid blockSize / granularity / any other option: ERR_INVALID_ARGUMENT", () => {
    const invalid: Record<string, readonly unknown[]> = {
      blockSize: [
        0,
        1,
        -65536,
        32 * 1024,
        65535,
        65537,
        96 * 1024,
        512 * MiB,
        2 ** 40,
        NaN,
        Infinity,
        65536.5,
        "65536",
        null,
        65536n,
      ],
      granularity: [0, 1, 32, 63, 65, 96, 192, 512, -64, NaN, 64.5, "64", null, 64n],
      fillPattern: [-1, 2 ** 32, 0.5, NaN, Infinity, "0", null, 1n],
      protectWrites: ["mseal", "", true, 1, null],
      reserveForMustSucceed: [-1, 0.5, NaN, "65536", null, 1n, 2 ** 31, 2 ** 53],
      maxReservedSize: [-1, 0, 0.5, NaN, "1048576", null, 1n],
    };
    const booleans = [
      "useDualMapping",
      "useMultiplePools",
      "fillUnusedMemory",
      "immediateRelease",
      "disableInitialPadding",
      "useLargePages",
      "alignBlockSizeToLargePage",
    ];
    for (const option of booleans) invalid[option] = [0, 1, "true", null, {}];
    for (const [option, values] of Object.entries(invalid)) {
      for (const value of values) {
        const options = wrong<JitAllocatorOptions>({ [option]: value });
        const error = throwsJitError(
          "ERR_INVALID_ARGUMENT",
          () => new JitAllocator(options, new SimulatedMemory()),
          `${option}: ${String(value)}`,
        );
        assert.ok(error.message.includes(option), `the message names the option: ${error.message}`);
      }
    }
    for (const options of [null, 1, "fast", true]) {
      throwsJitError("ERR_INVALID_ARGUMENT", () => new JitAllocator(wrong(options), new SimulatedMemory()));
    }
  });

  test("every valid blockSize is taken: powers of two from 64 KiB to 256 MiB", () => {
    for (let blockSize = 64 * 1024; blockSize <= 256 * MiB; blockSize *= 2) {
      withAllocator({ blockSize }, (allocator) => assert.equal(allocator.blockSize, blockSize));
    }
  });

  row("an allocator that was only made holds no memory", {}, ({ allocator }) => {
    const { byKind, ...statistics } = allocator.statistics();
    for (const counts of Object.values(byKind))
      assert.deepEqual(counts, { blockCount: 0, allocationCount: 0, usedSize: 0, reservedSize: 0 });
    assert.deepEqual(
      { ...statistics, overheadSize: 0, overheadRatio: 0 },
      {
        blockCount: 0,
        allocationCount: 0,
        usedSize: 0,
        reservedSize: 0,
        unusedSize: 0,
        residentSize: 0,
        retiredSize: 0,
        overheadSize: 0,
        usedRatio: 0,
        unusedRatio: 0,
        overheadRatio: 0,
      },
    );
    assert.ok(Number.isFinite(statistics.overheadRatio), "a ratio of nothing is 0, not NaN");
    assert.deepEqual(allocator.blocks(), []);
  });
});
