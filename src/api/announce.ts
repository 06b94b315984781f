import { refuseValue } from "../engine/refusals.ts";
import { startAnnouncing, WAYS } from "../insight/announce.ts";
import type { Announcement } from "../insight/announce.ts";

/** To whom code is announced. All default to false. */
export interface AnnounceOptions {
  /** To a debugger, by GDB's JIT interface: names and backtraces, also through machine code into C. */
  readonly gdb?: boolean;
  /** To perf, by a file for `perf inject --jit`, with the code's bytes and how to unwind its frames. */
  readonly jitdump?: boolean;
  /**
   * To perf, by `/tmp/perf-PID.map`. Only for allocators made with `{ useDualMapping: false, useRange: false }`: perf asks the
   * map only about memory that belongs to no file, and memory that is mapped twice, or a range, is a file's.
   */
  readonly perfMap?: boolean;
  /**
   * To C++: exceptions pass through the code from what it calls to what calls it, and `_Unwind_Backtrace` walks through it.
   * Not for code of shared allocators. Needs GCC's library `libgcc_s.so.1`.
   */
  readonly unwind?: boolean;
}

/**
 * Announces code to debuggers and profilers, on Linux: from now on all code of this thread that is added to a `JitRuntime`,
 * allocated with a name, or made callable by `toFunction`. Code has the name it was given, or its address for one. When it
 * is released, a debugger learns of that too.
 *
 * The environment variable `JIT_ALLOCATOR_ANNOUNCE=gdb,jitdump` does the same for all threads of a program that does not
 * call this function.
 *
 * @returns the files that are written
 * @throws JitError `ERR_INVALID_ARGUMENT` for an unknown option; `ERR_FEATURE_NOT_ENABLED` where the system, or its policy,
 *   does not allow it
 * @example
 * ```ts
 * announce({ gdb: true }); // before the code is added
 * ```
 */
export function announce(options: AnnounceOptions): Announcement {
  if (typeof options !== "object" || options === null) {
    throw refuseValue(
      "announce code with options",
      options,
      "they are an object: { gdb, jitdump, perfMap, unwind }",
    );
  }
  // Each is read once: a getter must not give another value after the check.
  const given = Object.entries(options) as readonly (readonly [string, unknown])[];
  for (const [name, value] of given) {
    if (!WAYS.some((way) => way === name))
      throw refuseValue("announce code by", name, `the ways are ${WAYS.join(", ")}`);
    if (value !== undefined && typeof value !== "boolean") {
      throw refuseValue(`announce code with ${name}`, value, "it is true or false");
    }
  }
  return startAnnouncing(WAYS.filter((way) => given.some(([name, value]) => name === way && value === true)));
}
