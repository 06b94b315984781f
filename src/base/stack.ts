/**
 * Room on the stack. A program that recurses may call with hardly any left, catch the RangeError and go on. An operation
 * that ended half way would leave its books wrong for all that follow, so each one first asks for more than it needs: the
 * RangeError then comes before anything has changed.
 *
 * JavaScript does not tell how much is left. But engines see to it that there is room for all parameters of a function
 * before they enter it, also for those that the caller left out.
 */
import { JitError } from "./errors.ts";
import { argumentNames, compile } from "./generated.ts";
import { platform } from "./platform.ts";

/** Of 8 bytes each: more than any operation takes that maps nothing, even where it is interpreted. */
const PARAMETERS = 512;

/**
 * So many times as much is needed where anything is done for the first time: V8 wants 40 KiB to compile a function, and
 * does so when it is called. System calls, and the making of errors, are content with less. JavaScriptCore keeps a part of
 * the stack for itself; and it compiles twelve such functions within each other for seconds, in which no worker can end.
 */
const TIMES = platform.runtime === "bun" ? 3 : 12;

/** Operations in which all that operations usually call has been called. */
const FIRST_OPERATIONS = 1000;

/** A function of that many parameters is about as much as so many calls within each other. */
const CALLS = 64;

const [enough, muchMore] = compile<(zero: Int32Array, never: () => void) => [() => void, () => void]>(
  ["zero", "never"],
  textOfProbes(),
)?.(new Int32Array(1), () => undefined) ?? [() => descend(CALLS), () => descend(CALLS * TIMES)];

/**
 * Functions within each other, each of which calls the one before. Compilers put them into the function that asks, and
 * leave of it all but a comparison. What they compile checks for as much room as it would take interpreted, should it have
 * to go back to that; and so it might, says the comparison.
 */
function textOfProbes(): string {
  const parameters = argumentNames(PARAMETERS).join(", ");
  let text = `const probe1 = (${parameters}) => { if (zero[0] !== 0) never(a0); };\n`;
  for (let i = 2; i <= TIMES; i++) text += `const probe${i} = (${parameters}) => { probe${i - 1}(); };\n`;
  return `${text} return [probe1, probe${TIMES}];`;
}

/** The same by hand, where no function can be made of text. */
function descend(calls: number): number {
  return calls === 0 ? 0 : descend(calls - 1) + 1;
}

/** What V8 and JavaScriptCore alike say where the stack is used up; other RangeErrors are about values. */
const USED_UP = "call stack size exceeded";

/** Whether an error is the engine's, thrown where the stack was used up: nobody may take it for anything else. */
export function isStackOverflow(error: unknown): boolean {
  return error instanceof RangeError && error.message.includes(USED_UP);
}

let operations = 0;

/** Throws the engine's RangeError where there is not enough room for any operation that maps nothing. */
export function needStack(): void {
  enough();
}

/**
 * The same for the first operations of a thread, which call functions that were never called. False for each of them, then
 * true: nothing more has to be asked for.
 */
export function needStackAtFirst(): boolean {
  if (operations >= FIRST_OPERATIONS) return true;
  muchMore();
  operations += 1; // those that are refused have called nothing
  return false;
}

/** Calls of this library that may lie between whoever calls it and the one that asks for most. */
const DEEPEST_CALLS = 16;

/**
 * Whether operations called from here, or from a caller, will find what they ask for at all: a thread may have been given
 * less stack than that (`--stack-size`, `resourceLimits`). Called when an allocator is made.
 *
 * @throws JitError `ERR_OUT_OF_MEMORY`
 */
export function checkStackSize(action: string): void {
  try {
    descend(DEEPEST_CALLS);
    muchMore();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new JitError(
      "ERR_OUT_OF_MEMORY",
      `Cannot ${action}: less than ${(TIMES * PARAMETERS * 8) / 1024} KiB of this thread's stack is left, which operations ask for ` +
        "before they begin; give the thread a larger one (node --stack-size, or resourceLimits.stackSizeMb of a worker), " +
        "or call from where less of it is used",
      { cause },
    );
  }
}

/** The same for whatever else there is to do. It takes microseconds at first: for what takes longer anyway. */
export function needMuchStack(): void {
  muchMore();
}
