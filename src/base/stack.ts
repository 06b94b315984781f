/**
 * Checks for room on the stack. A recursive program may call with hardly any stack left, catch the RangeError and go on.
 * An operation cut off half way would leave the allocator's state wrong for all later ones. So each operation first
 * probes for more stack than it needs: the RangeError then comes before anything has changed.
 *
 * JavaScript does not tell how much stack is left. But before engines enter a function, they check that there is room for
 * all its parameters, also for those that the caller left out.
 */
import { JitError } from "./errors.ts";
import { argumentNames, compile } from "./generated.ts";
import { platform } from "./platform.ts";

/** Parameters of a probe, 8 bytes each: more stack than any operation that maps nothing takes, even interpreted. */
const PARAMETERS = 512;

/**
 * How many probes deep the stack must reach for a first call: V8 needs 40 KiB to compile a function, which it does when the
 * function is called. System calls, and the making of errors, need less. JavaScriptCore keeps a part of the stack for
 * itself, and takes seconds to compile twelve probes within each other, in which no worker can end.
 */
const TIMES = platform.runtime === "bun" ? 3 : 12;

/** After so many operations of a thread, every function that operations usually call has been called. */
const FIRST_OPERATIONS = 1000;

/** So many looks for much stack are made by one probe that calls itself: those of the first operations, and some more. */
const FIRST_LOOKS = FIRST_OPERATIONS + 500;

/** A probe takes about as much stack as so many nested calls of {@link descend}. */
const CALLS = 64;

const parameters = argumentNames(PARAMETERS).join(", ");

/**
 * Compilers inline the first probe into its caller and leave only the comparison. The compiled code still checks for the stack
 * that the probe would take interpreted, in case of a deoptimization; the comparison keeps one possible. The second calls
 * itself, which takes no time to compile, and a microsecond each time.
 */
const TEXT_OF_PROBES = `
const enough = (${parameters}) => { if (zero[0] !== 0) never(a0); };
const nested = (${parameters}) => { if (a0 > 1) nested(a0 - 1); };
return [enough, nested];`;

type Enough = () => void;
type Nested = (depth: number) => void;

const [enough, nested] = compile<(zero: Int32Array, never: () => void) => [Enough, Nested]>(
  ["zero", "never"],
  TEXT_OF_PROBES,
)?.(new Int32Array(1), () => undefined) ?? [() => descend(CALLS), (depth) => descend(CALLS * depth)];

let looks = 0;
/** The probes for a program that goes on looking. Not one variable for both: a call site that has seen two is not inlined. */
let chain: Enough | undefined;

/** Looks whether there is stack for a first call. Throws the engine's RangeError where there is none. */
function muchMore(): void {
  if (chain !== undefined) {
    chain();
    return;
  }
  nested(TIMES);
  looks += 1;
  if (looks === FIRST_LOOKS) chain = compileChain();
}

/** Probes that call each other, which a compiler inlines as it does `enough`. */
function compileChain(): Enough | undefined {
  let text = "const probe0 = enough;\n";
  for (let i = 1; i < TIMES; i++) text += `const probe${i} = (${parameters}) => { probe${i - 1}(); };\n`;
  return compile<(enough: Enough) => Enough>(["enough"], `${text}return probe${TIMES - 1};`)?.(enough);
}

/** The probe where no function can be made from text: nested calls. */
function descend(calls: number): number {
  return calls === 0 ? 0 : descend(calls - 1) + 1;
}

/** Part of the message of V8 and JavaScriptCore where the stack is used up; other RangeErrors are about values. */
const USED_UP = "call stack size exceeded";

/** Whether an error is the engine's RangeError for a used-up stack, which must not be taken for any other. */
export function isStackOverflow(error: unknown): boolean {
  return error instanceof RangeError && error.message.includes(USED_UP);
}

let operations = 0;

/** Throws the engine's RangeError where there is not enough room for any operation that maps nothing. */
export function needStack(): void {
  enough();
}

/**
 * Checks for more stack in the first operations of a thread, whose functions are not compiled yet. Returns false for each
 * of these, then true: the check is no longer needed. Throws the engine's RangeError where there is not enough room.
 */
export function needStackAtFirst(): boolean {
  if (operations >= FIRST_OPERATIONS) return true;
  muchMore();
  operations += 1; // not for refused operations, which have called nothing
  return false;
}

/** The most calls of this library between the caller and the check that needs most stack. */
const DEEPEST_CALLS = 16;

/**
 * Checks that operations called from here, or from a caller, can ever find enough stack: a thread may have been given less
 * (`--stack-size`, `resourceLimits`). Called when an allocator is made.
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

/**
 * Throws the engine's RangeError where there is not enough room for any operation, also for a first call. Takes
 * microseconds at first: for operations that take longer anyway.
 */
export function needMuchStack(): void {
  muchMore();
}
