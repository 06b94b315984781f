import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { lineOfOperation, OperationKind, readTrace, TraceError } from "../../src/cli/trace.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const read = (text: string): ReturnType<typeof readTrace> => readTrace("x.trace", encode(text));

test("a trace becomes flat arrays, with ids renamed to dense slots", () => {
  const trace = read("# made\na 70 300\na 123456789012 5\nq 70\ns 70 64\nf 123456789012\nf 70\n");
  const kinds = [
    OperationKind.alloc,
    OperationKind.alloc,
    OperationKind.query,
    OperationKind.shrink,
    OperationKind.release,
    OperationKind.release,
  ];
  assert.equal(trace.operationCount, 6);
  assert.equal(trace.slotCount, 2);
  assert.deepEqual([...trace.kinds], kinds);
  assert.deepEqual([...trace.slots], [0, 1, 0, 0, 1, 0]);
  assert.deepEqual([...trace.sizes], [300, 5, 0, 64, 0, 0]);
  assert.deepEqual(trace.phases, [{ name: "all", start: 0, end: 6 }]);
});

test("an id that was released may be allocated again, in the same slot", () => {
  const trace = read("a 1 8\nf 1\na 1 16\nf 1");
  assert.equal(trace.slotCount, 1);
  assert.equal(trace.operationCount, 4);
});

test("phases: what precedes the first is `all`, and only if there is something", () => {
  assert.deepEqual(read("a 1 8\np one more\nf 1\np last\n").phases, [
    { name: "all", start: 0, end: 1 },
    { name: "one more", start: 1, end: 2 },
    { name: "last", start: 2, end: 2 },
  ]);
  assert.deepEqual(read("# c\np größer\na 1 8\n").phases, [{ name: "größer", start: 0, end: 1 }]);
  assert.deepEqual(read("").phases, []);
});

test("line ends of other systems, empty lines and a missing last newline do no harm", () => {
  const trace = read("p x\r\na 1 8\r\n\r\n\n# end\r\nf 1");
  assert.equal(trace.operationCount, 2);
  assert.deepEqual(trace.phases, [{ name: "x", start: 0, end: 2 }]);
});

test("gzip is told by the ending of the name", () => {
  const bytes = gzipSync(encode("a 1 8\nf 1\n"));
  assert.equal(readTrace("x.trace.gz", bytes).operationCount, 2);
  assert.throws(() => readTrace("x.trace", bytes), TraceError);
});

test("a large and sparse set of ids, and more operations than the first arrays hold", () => {
  const lines: string[] = [];
  for (let i = 0; i < 5000; i++) lines.push(`a ${i * 7919} ${i + 1}`);
  for (let i = 0; i < 5000; i++) lines.push(`f ${i * 7919}`);
  const trace = read(lines.join("\n"));
  assert.equal(trace.slotCount, 5000);
  assert.equal(trace.operationCount, 10_000);
  for (let i = 0; i < 5000; i++) {
    assert.equal(trace.slots[i], i);
    assert.equal(trace.sizes[i], i + 1);
    assert.equal(trace.slots[5000 + i], i);
  }
});

const refused: readonly (readonly [text: string, line: number, reason: RegExp])[] = [
  ["a 1 8\nx 1\n", 2, /a, f, s, q, p or #/],
  [" a 1 8\n", 1, /a, f, s, q, p or #/],
  ["a 1 8\n\na\n", 3, /an ID is missing: "a"/],
  ["a 1\n", 1, /a SIZE in bytes is missing/],
  ["a1 8\n", 1, /an ID is missing/],
  ["a 1x 8\n", 1, /a SIZE in bytes is missing/],
  ["a 1 8x\n", 1, /something follows the operation/],
  ["a 1 8 9\n", 1, /something follows the operation/],
  ["a 1 -8\n", 1, /a SIZE in bytes is missing/],
  ["a 1 8.5\n", 1, /something follows/],
  ["a 1 2147483648\n", 1, /larger than 2147483647/],
  ["a 99999999999999999999 8\n", 1, /an ID is larger/],
  ["a 1 0\n", 1, /0 bytes/],
  ["f\n", 1, /an ID is missing/],
  ["s 1\n", 1, /a SIZE in bytes is missing/],
  ["p\n", 1, /NAME of the phase is missing/],
  ["p \n", 1, /NAME of the phase is missing/],
  ["phase\n", 1, /NAME of the phase is missing/],
  ["a 1 8\nf 2\n", 2, /ID 2 was never allocated/],
  ["s 7 8\n", 1, /ID 7 was never allocated/],
  ["q 99999999999\n", 1, /ID 99999999999 was never allocated/],
  ["a 1 8\nf 1\n# once more\nf 1\n", 4, /ID 1 was released already/],
  ["a 1 8\ns 1 0\nf 1\n", 3, /ID 1 was released already/],
  ["a 1 8\nf 1\nq 1\n", 3, /ID 1 has been released/],
  ["a 1 8\na 1 8\n", 2, /ID 1 is allocated already/],
];
for (const [text, line, reason] of refused) {
  test(`refused: ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => read(text),
      (error: unknown) => {
        assert.ok(error instanceof TraceError);
        assert.equal(error.line, line);
        assert.match(error.message, reason);
        assert.ok(error.message.startsWith(`line ${line}: `));
        return true;
      },
    );
  });
}

test("a malformed line is quoted, and no more than 60 bytes of it", () => {
  assert.throws(() => read(`a 1 8\n${"z".repeat(1000)}\n`), /: "z{60}"$/);
});

test("the line of an operation counts phases, comments and empty lines", () => {
  const text = "# one\np two\na 1 8\n\nq 1\np six\nf 1\n";
  assert.deepEqual(
    [0, 1, 2].map((index) => lineOfOperation("x.trace", encode(text), index)),
    [3, 5, 7],
  );
  assert.equal(lineOfOperation("x.gz", gzipSync(encode(text)), 2), 7);
});

test("a reset in a trace of several threads ends all but what was live behind it", () => {
  const kindsOf = (text: string): string =>
    Array.from(read(text).kinds, (kind: OperationKind) => (kind === OperationKind.alloc ? "a" : "f")).join(
      "",
    );
  const start = "# thread 1\na 1 8\na 2 8\na 3 8\n";
  assert.equal(kindsOf(`${start}# reset\n# live 2\nf 2\n`), "aaafff");
  assert.equal(
    kindsOf(`${start}# reset\nf 1\na 1 8\n# live 1 2\n`),
    "aaafaf",
    "what was said meanwhile holds",
  );
  assert.equal(kindsOf(`${start}# reset\na 3 8\n# live\na 9 8\n`), "aaafaffa");
  assert.equal(kindsOf(`${start}# reset\n`), "aaafff", "the thread has ended before it could say more");
  assert.equal(kindsOf(`${start}# reset\n# reset\n# live 1\n`), "aaafff");
  assert.equal(kindsOf(`${start}# dispose\n`), "aaafff");
  assert.equal(kindsOf(`${start}# live\n`), "aaa", "nothing was in doubt");
  assert.equal(kindsOf("a 1 8\n# reset\n# dispose\n"), "a", "one thread has said what it has released");
});

test("a recorded trace that is cut off in the middle of what was packed says so, wherever that is", () => {
  const first = gzipSync(encode("# jit-allocator trace 1\n# options {}\na 1 8\n"));
  const lines = Array.from({ length: 300 }, (_, index) => `a ${index + 2} ${1 + ((index * index) % 997)}\n`);
  const whole = Buffer.concat([first, gzipSync(encode(lines.join("")))]);
  assert.equal(readTrace("x.gz", first).isCut, false);
  assert.equal(readTrace("x.gz", whole).isCut, false);
  for (let length = first.length + 1; length < whole.length; length++)
    assert.ok(readTrace("x.gz", whole.subarray(0, length)).isCut, String(length));
});
