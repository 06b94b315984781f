/**
 * Does one thing that a process does not come back from, or must not have done to it, and prints what came of it as JSON. What
 * it does is its argument.
 */
import { JitAllocator, JitError, toFunction } from "../../src/index.ts";
import { ADD, RUNS_HERE } from "../support/native-code.ts";
import { callLibc, mapAgain, protect, READ, EXECUTE, store, unmap, WRITE } from "../support/native-call.ts";
import { accessOf } from "../support/process-state.ts";

/** prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN); Linux 6.3. */
const PR_SET_MDWE = 65;
/** mseal; Linux 6.10. The number is the same on every processor. */
const MSEAL = 462;

const allocator = new JitAllocator({ disableInitialPadding: true }); // a span then begins with its page
const span = allocator.alloc(ADD.length);
span.write(0, ADD);
const blockSize = allocator.blockSize;

const actions: Readonly<Record<string, () => unknown>> = {
  /** Where the first code of this process lies. */
  place: () => span.rx,

  /** A store to code: the process ends. */
  store: () => {
    console.log(JSON.stringify("before"));
    store(span.rx, Uint8Array.of(0xcc));
    return "it went through";
  },

  /** What is left of a writable view that is sealed. */
  seal: () => {
    const isSealed = callLibc(
      "syscall",
      ["pointer", "pointer", "pointer", "u64"],
      MSEAL,
      span.rw,
      blockSize,
      0n,
    );
    const again = mapAgain(span.rw, blockSize);
    const executable = protect(span.rw, blockSize, READ | EXECUTE);
    const unmapped = unmap(span.rw, blockSize);
    span.write(0, Uint8Array.of(0x90));
    return {
      isSealed,
      again,
      executable,
      unmapped,
      written: span.read(0, 1)[0],
      disposed: codeOf(() => allocator.dispose()),
    };
  },

  /** A process that may never again make anything executable that it could write. */
  mdwe: () => {
    const isSet = callLibc("prctl", ["i32", "u64", "u64", "u64", "u64"], PR_SET_MDWE, 1n, 0n, 0n, 0n);
    const second = new JitAllocator({ disableInitialPadding: true });
    const code = second.alloc(ADD.length);
    code.write(0, ADD);
    const sum = RUNS_HERE ? toFunction(code, { parameters: ["i32", "i32"], result: "i32" })(2, 3) : 5;
    return {
      isSet,
      sum,
      access: accessOf(code.rx),
      executable: protect(code.rw, blockSize, READ | WRITE | EXECUTE),
      single: codeOf(() => new JitAllocator({ useDualMapping: false }).alloc(64)),
    };
  },
};

function codeOf(act: () => unknown): string {
  try {
    act();
    return "done";
  } catch (error) {
    return error instanceof JitError ? error.code : String(error);
  }
}

console.log(JSON.stringify(actions[process.argv[2] ?? ""]?.()));
