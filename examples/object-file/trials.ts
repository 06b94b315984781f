/** Work for libraries that this example knows, to compare the linked archive with the system's shared library. */
import type { JitAllocator } from "jit-allocator";
import type { Library } from "./library.ts";
import type { FindFunction } from "./native.ts";
import { SharedObject } from "./native.ts";
import { Database, Sqlite } from "./sqlite.ts";
import { Zlib } from "./zlib.ts";

/** How long the same work takes in both. */
export interface Comparison {
  readonly title: string;
  readonly sharedObject: string;
  readonly linkedMs: number;
  readonly sharedMs: number;
}

/** Work that can be done with a library. */
interface Trial {
  /** The shared library with the same functions. */
  readonly sharedObject: string;
  /** The pieces of work, each by its title. */
  prepare(find: FindFunction): ReadonlyMap<string, () => void>;
}

/** Rounds in which both take turns; of each the best counts, which other programs have disturbed least. */
export const ROUNDS = 30;
/** Some milliseconds of work: much longer than a call, and short enough to be left alone in some of the rounds. */
const TEXT_BYTES = 1 << 20;
const NUMBERS = 50_000;

const trials: ReadonlyMap<string, Trial> = new Map([
  ["libz.a", { sharedObject: "libz.so.1", prepare: compressText }],
  ["libsqlite3.a", { sharedObject: "libsqlite3.so.0", prepare: queryNumbers }],
]);

/** Times the linked archive and the shared library in turns; undefined for an archive that this example does not know. */
export function compare(
  allocator: JitAllocator,
  file: string,
  library: Library,
): readonly Comparison[] | undefined {
  const trial = trials.get(file);
  if (trial === undefined) return undefined;
  const { sharedObject } = trial;
  using shared = new SharedObject(allocator, sharedObject);
  const linkedWork = trial.prepare((name, signature) => library.toFunction(name, signature));
  const sharedWork = trial.prepare((name, signature) => shared.toFunction(name, signature));
  return [...linkedWork].map(([title, linked]): Comparison => {
    const other = sharedWork.get(title) ?? linked;
    const best = { linkedMs: Infinity, sharedMs: Infinity };
    for (let round = 0; round < ROUNDS; round++) {
      // Whoever comes first finds the caches as the other has left them.
      const isLinkedFirst = round % 2 === 0;
      if (isLinkedFirst) best.linkedMs = Math.min(best.linkedMs, millisecondsOf(linked));
      best.sharedMs = Math.min(best.sharedMs, millisecondsOf(other));
      if (!isLinkedFirst) best.linkedMs = Math.min(best.linkedMs, millisecondsOf(linked));
    }
    return { title, sharedObject, ...best };
  });
}

function millisecondsOf(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

/** Text with as many repetitions as text has. */
function makeText(bytes: number): Uint8Array {
  const words = [
    "allocator",
    "span",
    "the",
    "of",
    "code",
    "a",
    "relocation",
    "and",
    "veneer",
    "reaches",
    "symbol",
  ];
  const parts: string[] = [];
  let state = 0x2545_f491;
  for (let length = 0; length < bytes; length += (parts.at(-1) ?? "").length) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    parts.push(`${words[(state >>> 16) % words.length] ?? ""} ${state % 7 === 0 ? state : ""}`);
  }
  return new TextEncoder().encode(parts.join("")).subarray(0, bytes);
}

function compressText(find: FindFunction): ReadonlyMap<string, () => void> {
  const zlib = new Zlib(find);
  const text = makeText(TEXT_BYTES);
  const compressed = zlib.compress(text).slice();
  return new Map([
    ["compress 1 MiB", () => zlib.compress(text)],
    ["decompress 1 MiB", () => zlib.decompress(compressed, text.length)],
  ]);
}

function queryNumbers(find: FindFunction): ReadonlyMap<string, () => void> {
  const sqlite = new Sqlite(find);
  const numbers = `WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT ${NUMBERS})`;
  const inDatabase = (work: (database: Database) => void) => () => {
    using database = new Database(sqlite);
    work(database);
  };
  return new Map([
    [
      "add up 50,000 numbers",
      inDatabase((database) => database.run(`${numbers} SELECT sum(n * n) FROM numbers`)),
    ],
    [
      "sort 50,000 rows",
      inDatabase((database) => {
        database.run("CREATE TABLE rows (n INTEGER, text TEXT)");
        database.run(`INSERT INTO rows ${numbers} SELECT n * 7919 % 50021, 'row ' || n FROM numbers`);
        database.run("CREATE INDEX by_n ON rows (n, text)");
      }),
    ],
  ]);
}
