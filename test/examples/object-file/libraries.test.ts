/** The linker's proof: Debian's own archives of zlib and of SQLite run from spans. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { deflateSync, gunzipSync, inflateSync } from "node:zlib";
import { JitAllocator } from "jit-allocator";
import { LoadedLibrary } from "../../../examples/object-file/library.ts";
import { Database, Sqlite } from "../../../examples/object-file/sqlite.ts";
import { Zlib } from "../../../examples/object-file/zlib.ts";
import { archiveOf } from "../../support/archives.ts";
import { mapLines, openDescriptors } from "../../support/process-state.ts";
import { Random } from "../../support/random.ts";
import type { Done, Work } from "./zlib-child.ts";

const zlibArchive = archiveOf("libz.a", "zlib1g-dev");
const sqliteArchive = archiveOf("libsqlite3.a", "libsqlite3-dev");

const MIB = 1 << 20;

/** Bytes of which some repeat and others do not. */
function makeBytes(count: number): Uint8Array {
  const random = new Random(1);
  const words = Array.from({ length: 500 }, () => random.next());
  const numbers = new Uint32Array(count / 4);
  for (let index = 0; index < numbers.length; index++) {
    numbers[index] = random.chance(0.1) ? random.next() : random.pick(words);
  }
  return new Uint8Array(numbers.buffer);
}

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

function zlibOf(library: LoadedLibrary): Zlib {
  return new Zlib((name, signature) => library.toFunction(name, signature));
}

describe("zlib", { skip: zlibArchive.skip }, () => {
  test("compresses and decompresses 16 MiB, and the runtime's own zlib understands it", () => {
    using allocator = new JitAllocator();
    using library = LoadedLibrary.load(allocator, zlibArchive.file);
    const zlib = zlibOf(library);
    const bytes = makeBytes(16 * MIB);
    const compressed = zlib.compress(bytes);
    assert.ok(compressed.length < 0.6 * bytes.length, `${compressed.length} bytes`);
    assert.ok(isEqual(inflateSync(compressed), bytes));
    assert.ok(isEqual(zlib.decompress(compressed, bytes.length), bytes));
    assert.ok(isEqual(zlib.decompress(deflateSync(bytes), bytes.length), bytes));
    allocator.verify();
  });

  test("is the archive's, not the runtime's", () => {
    using allocator = new JitAllocator();
    using library = LoadedLibrary.load(allocator, zlibArchive.file);
    const [, version] =
      /#define ZLIB_VERSION "([^"]+)"/.exec(readFileSync("/usr/include/zlib.h", "utf8")) ?? [];
    assert.equal(zlibOf(library).version, version);
    const span = allocator.query(library.addressOf("deflate"));
    assert.equal(span.kind, "code");
  });

  test("says what went wrong", () => {
    using allocator = new JitAllocator();
    using library = LoadedLibrary.load(allocator, zlibArchive.file);
    const zlib = zlibOf(library);
    assert.throws(
      () => zlib.decompress(Uint8Array.of(1, 2, 3), 10),
      /^Error: zlib cannot decompress: the data are damaged$/,
    );
    assert.throws(
      () => zlib.decompress(deflateSync("text"), 2),
      /^Error: zlib cannot decompress: there is no room for the result$/,
    );
  });

  test("writes files, by the C library's calls and its errno", () => {
    using allocator = new JitAllocator();
    using library = LoadedLibrary.load(allocator, zlibArchive.file);
    const open = library.toFunction("gzopen64", { parameters: ["cstring", "cstring"], result: "pointer" });
    const write = library.toFunction("gzwrite", { parameters: ["pointer", "buffer", "u32"], result: "i32" });
    const close = library.toFunction("gzclose", { parameters: ["pointer"], result: "i32" });
    const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-gz-"));
    try {
      assert.equal(open(path.join(folder, "no/such/folder.gz"), "wb"), 0);
      const file = path.join(folder, "made.gz");
      const opened = open(file, "wb9");
      const bytes = makeBytes(MIB);
      assert.equal(write(opened, bytes, bytes.length), bytes.length);
      assert.equal(close(opened), 0);
      assert.ok(isEqual(gunzipSync(readFileSync(file)), bytes));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("is linked in part where an entry is named", () => {
    using allocator = new JitAllocator();
    using library = LoadedLibrary.load(allocator, zlibArchive.file, { entries: ["adler32"] });
    assert.deepEqual(library.linked.members, ["libz.a(adler32.o)"]);
    const adler32 = library.toFunction("adler32", {
      parameters: ["usize", "buffer", "u32"],
      result: "usize",
    });
    assert.equal(adler32(1, new TextEncoder().encode("Wikipedia"), 9), 0x11e6_0398);
  });

  test("runs in three workers on one shared allocator, linked once and by each of them", async () => {
    using allocator = new JitAllocator();
    const handle = allocator.share();
    using library = LoadedLibrary.load(allocator, zlibArchive.file);
    const bytes = makeBytes(6 * MIB);
    const parts = [0, 1, 2].map((part) => bytes.slice(part * 2 * MIB, (part + 1) * 2 * MIB));
    const all = await Promise.all(
      parts.map(async (text) => {
        const work: Work = { allocator: handle, library: library.share(), file: zlibArchive.file, text };
        const worker = new Worker(new URL("zlib-child.js", import.meta.url), { workerData: work });
        const ended = once(worker, "exit");
        const [done] = (await once(worker, "message")) as [Done];
        await ended;
        return done;
      }),
    );
    for (const [index, { byShared, byOwn }] of all.entries()) {
      const part = parts[index] ?? assert.fail();
      assert.ok(isEqual(inflateSync(byShared), part));
      assert.ok(isEqual(byShared, byOwn));
      assert.ok(isEqual(zlibOf(library).decompress(byShared, part.length), part));
    }
    allocator.verify();
  });
});

describe("SQLite", { skip: sqliteArchive.skip }, () => {
  const ROWS = 200_000;
  const NAMES = ["ant", "bee", "cat", "dog", "eel"];
  const nameOf = (id: number): string => `${NAMES[id % NAMES.length] ?? ""} ${id}`;
  const priceOf = (id: number): number => ((id * 7919) % 10_007) / 4;

  /** Loads SQLite and runs with a database in memory. */
  function withDatabase(run: (database: Database, allocator: JitAllocator) => void): void {
    using allocator = new JitAllocator();
    {
      using library = LoadedLibrary.load(allocator, sqliteArchive.file);
      const sqlite = new Sqlite((name, signature) => library.toFunction(name, signature));
      {
        using database = new Database(sqlite);
        run(database, allocator);
      }
      sqlite.shutdown();
    }
    assert.equal(allocator.statistics().allocationCount, 0);
    allocator.verify();
  }

  function rowsOf(database: Database, sql: string): (readonly (string | null)[])[] {
    const rows: (readonly (string | null)[])[] = [];
    database.query(sql, (row) => rows.push(row));
    return rows;
  }

  test("keeps 200,000 rows and an index, calls back for each row, and calls a function in TypeScript", () => {
    withDatabase((database, allocator) => {
      database.run("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, price REAL)");
      database.insert(
        "INSERT INTO things VALUES (?, ?, ?)",
        (function* () {
          for (let id = 1; id <= ROWS; id++) yield [id, nameOf(id), priceOf(id)];
        })(),
      );
      database.run("CREATE INDEX by_price ON things (price)");
      allocator.verify();

      let calls = 0;
      database.define("ts_distance", 2, (one, other) => {
        calls++;
        return Math.abs(one - other);
      });
      const found = rowsOf(
        database,
        "SELECT id, name, ts_distance(price, 1000) FROM things WHERE price BETWEEN 990 AND 1010 ORDER BY 3, id",
      );
      const expected = Array.from({ length: ROWS }, (_, index) => index + 1)
        .filter((id) => priceOf(id) >= 990 && priceOf(id) <= 1010)
        .map((id) => [id, nameOf(id), Math.abs(priceOf(id) - 1000)] as const)
        .sort(([id, , distance], [otherId, , other]) => distance - other || id - otherId);
      assert.ok(expected.length > 1000);
      assert.deepEqual(
        found.map(([id, name, distance]) => [Number(id), name, Number(distance)]),
        expected,
      );
      assert.equal(calls, expected.length);
      const [plan] = rowsOf(
        database,
        "EXPLAIN QUERY PLAN SELECT id FROM things WHERE price BETWEEN 990 AND 1010",
      );
      assert.match(String(plan?.[3]), /by_price/);
      assert.deepEqual(rowsOf(database, "SELECT count(*), sum(ts_distance(id, 0)) FROM things"), [
        [String(ROWS), ((ROWS * (ROWS + 1)) / 2).toFixed(1)],
      ]);
      assert.equal(calls, expected.length + ROWS);
      assert.deepEqual(rowsOf(database, "PRAGMA integrity_check"), [["ok"]]);
    });
  });

  test("passes null, texts of every script and fractions", () => {
    withDatabase((database) => {
      database.run("CREATE TABLE t (a, b)");
      database.insert("INSERT INTO t VALUES (?, ?)", [
        ["žluťoučký 🐎", 0.5],
        ["", -3],
      ]);
      assert.deepEqual(rowsOf(database, "SELECT a, b, NULL FROM t ORDER BY b"), [
        ["", "-3", null],
        ["žluťoučký 🐎", "0.5", null],
      ]);
    });
  });

  test("says what went wrong, and errors of TypeScript come through", () => {
    withDatabase((database) => {
      assert.throws(
        () => database.run("SELEKT 1"),
        /^Error: SQLite: near "SELEKT": syntax error\n {2}SELEKT 1$/,
      );
      const error = new Error("enough");
      let rows = 0;
      const some =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) SELECT i FROM n";
      assert.throws(
        () =>
          database.query(some, () => {
            if (++rows === 10) throw error;
          }),
        (thrown) => thrown === error,
      );
      assert.equal(rows, 10);
      database.define("fail", 0, () => {
        throw new RangeError("not that");
      });
      assert.throws(() => database.run("SELECT fail()"), /^Error: SQLite: RangeError: not that\n/);
      database.run("CREATE TABLE t (a UNIQUE)");
      assert.throws(
        () => database.insert("INSERT INTO t VALUES (?)", [[1], [2], [1]]),
        /UNIQUE constraint failed/,
      );
      assert.deepEqual(rowsOf(database, "SELECT count(*) FROM t"), [["0"]]);
    });
  });

  test("lets a callback query again while a query runs", () => {
    withDatabase((database) => {
      database.run("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3)");
      const sums: string[] = [];
      database.query("SELECT a FROM t ORDER BY a", ([a]) =>
        database.query(`SELECT sum(a) FROM t WHERE a <= ${a ?? ""}`, ([sum]) => void sums.push(sum ?? "")),
      );
      assert.deepEqual(sums, ["1", "3", "6"]);
    });
  });
});

describe("loaded and unloaded 200 times, nothing grows", () => {
  const TIMES = 200;
  /** In the first half the runtime itself grows: it compiles, and its heap finds its size. */
  const WARM = TIMES / 2;
  /** What the second half would not fit in, if each time left as much as the file of libsqlite3.a has. */
  const MOST_GROWTH_BYTES = 100 * MIB;

  function holds(allocator: JitAllocator): unknown {
    const { allocationCount, blockCount, usedSize, reservedSize } = allocator.statistics();
    const own = mapLines().filter((line) => line.includes("jit-allocator"));
    return {
      allocationCount,
      blockCount,
      usedSize,
      reservedSize,
      own: own.length,
      open: openDescriptors().length,
    };
  }

  function repeat(allocator: JitAllocator, once: () => void): void {
    let before: unknown;
    let bytes = 0;
    for (let time = 0; time < TIMES; time++) {
      if (time === WARM) [before, bytes] = [holds(allocator), process.memoryUsage().rss];
      once();
    }
    assert.deepEqual(holds(allocator), before);
    const growth = process.memoryUsage().rss - bytes;
    assert.ok(growth < MOST_GROWTH_BYTES, `RSS grew by ${growth}`);
  }

  test("zlib", { skip: zlibArchive.skip }, () => {
    using allocator = new JitAllocator();
    const bytes = makeBytes(MIB / 16);
    repeat(allocator, () => {
      using library = LoadedLibrary.load(allocator, zlibArchive.file);
      const zlib = zlibOf(library);
      assert.ok(isEqual(zlib.decompress(zlib.compress(bytes), bytes.length), bytes));
    });
  });

  test("SQLite", { skip: sqliteArchive.skip }, () => {
    using allocator = new JitAllocator();
    repeat(allocator, () => {
      using library = LoadedLibrary.load(allocator, sqliteArchive.file);
      const sqlite = new Sqlite((name, signature) => library.toFunction(name, signature));
      {
        using database = new Database(sqlite);
        database.define("twice", 1, (n) => 2 * n);
        const rows: unknown[] = [];
        database.query("SELECT twice(21)", (row) => rows.push(row));
        assert.deepEqual(rows, [["42.0"]]);
      }
      sqlite.shutdown();
    });
  });
});
