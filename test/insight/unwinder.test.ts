/** C++ unwinds through announced code. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { systemMemory } from "../../src/vm/select.ts";
import { Unwinder } from "../../src/insight/unwinder.ts";
import { compileLibrary } from "../support/compile-library.ts";
import { runToEnd } from "../support/ended.ts";
import { throwsJitError } from "../support/expectations.ts";
import { needs } from "../support/requirements.ts";

const child = path.join(import.meta.dirname, "unwinding-child.js");

const source = `
#include <unwind.h>
static _Unwind_Reason_Code note(struct _Unwind_Context *context, void *given) {
  unsigned long **next = (unsigned long **)given;
  if (next[0] == next[1]) return _URC_END_OF_STACK;
  *next[0]++ = _Unwind_GetIP(context);
  return _URC_NO_REASON;
}
extern "C" void walk(unsigned long *to) {
  unsigned long *places[2] = { to, to + 64 };
  _Unwind_Backtrace(note, places);
}
extern "C" void throwing() { throw 42; }
extern "C" int catching(void (*call)()) {
  try { call(); } catch (int thrown) { return thrown; }
  return 0;
}
`;

describe("C++", { skip: needs("gxx", "systemV") }, () => {
  let folder = "";
  let library = "";
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-unwinding-"));
    library = compileLibrary(folder, source);
  });
  after(() => rmSync(folder, { recursive: true }));
  const run = (...words: readonly string[]): ReturnType<typeof runToEnd> =>
    runToEnd(process.execPath, [child, library, ...words]);

  test("walks through announced code to its callers, and an exception passes through it", () => {
    const { stdout, stderr } = run("announce");
    assert.match(stdout, /^callers ([5-9]|\d\d)\ncaught 42\n$/, stderr);
  });

  test("knows nothing of code that was not announced, or whose allocator is shared", () => {
    for (const words of [[], ["announce", "shared"]]) {
      const { status, stdout } = run(...words);
      assert.match(stdout, /^callers [0-2]\n$/);
      assert.notEqual(status, 0, "the exception ends the process");
    }
  });
});

test("where there is no unwinder: ERR_FEATURE_NOT_ENABLED", () => {
  throwsJitError("ERR_FEATURE_NOT_ENABLED", () => {
    return new Unwinder({ open: () => ({ find: () => undefined, name: "none" }) }, systemMemory());
  });
  throwsJitError("ERR_FEATURE_NOT_ENABLED", () => {
    return new Unwinder(
      {
        open: () => {
          throw new Error("no such library");
        },
      },
      systemMemory(),
    );
  });
});
