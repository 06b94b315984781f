import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Progress } from "../../src/cli/progress.ts";

/** A stream that keeps what is written, and a clock that stands still until it is told to go on. */
function watched(isTerminal: boolean, columns?: number) {
  const written: string[] = [];
  let nowMs = 5000;
  const progress = new Progress({ isTerminal, columns, write: (text) => written.push(text) }, () => nowMs);
  return { progress, written, later: (ms: number) => (nowMs += ms) };
}

describe("progress", () => {
  test("says nothing in the first second, then at most four times a second, and clears its line", () => {
    const { progress, written, later } = watched(true);
    progress.show(() => "one");
    later(999);
    progress.show(() => "two");
    assert.deepEqual(written, []);
    later(1);
    progress.show(() => "three");
    later(249);
    progress.show(() => "four");
    later(1);
    progress.show(() => "five");
    progress[Symbol.dispose]();
    progress[Symbol.dispose]();
    assert.deepEqual(written, ["\r\u001b[Kthree", "\r\u001b[Kfive", "\r\u001b[K"]);
  });

  test("writes nothing where there is no terminal, and makes no text", () => {
    const { progress, written, later } = watched(false);
    later(5000);
    progress.show(() => assert.fail("nobody reads it"));
    progress[Symbol.dispose]();
    assert.deepEqual(written, []);
  });

  test("clears nothing where nothing was shown, and cuts what is wider than the terminal", () => {
    const { progress, written, later } = watched(true, 10);
    progress[Symbol.dispose]();
    assert.deepEqual(written, []);
    later(2000);
    progress.show(() => "0123456789abc");
    assert.deepEqual(written, ["\r\u001b[K012345678"]);
  });
});
