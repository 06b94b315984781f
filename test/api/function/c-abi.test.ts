/** toFunction and toPointer against a C compiler: random signatures, called both ways with extreme values. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { JitAllocator, toFunction, toPointer } from "../../../src/index.ts";
import { wrong } from "../../support/expectations.ts";
import {
  chosenArguments,
  compileFunctions,
  EXTREMES,
  foldOf,
  randomArgument,
  resultOf,
} from "../../support/c-functions.ts";
import * as machineCode from "../../support/native-code.ts";
import { Random } from "../../support/random.ts";
import { needs } from "../../support/requirements.ts";

const SEED = 20;
const FUNCTIONS = 400;
const CALLS = 8;
/** More calls than any interface waits for before it calls in another way; for a few functions. */
const MANY_CALLS = 9000;

test(
  `${FUNCTIONS} functions of random signatures, as gcc compiles them`,
  { skip: needs("gcc", "machineCode") },
  () => {
    const random = new Random(SEED);
    const { functions, lastFold } = compileFunctions(FUNCTIONS, random);
    using allocator = new JitAllocator();
    for (const [index, { parameters, result, address }] of functions.entries()) {
      const span = allocator.alloc(16);
      span.write(0, machineCode.jumpFar(address));
      const call = wrong<(...args: unknown[]) => unknown>(toFunction(span, { parameters, result }));
      const callCount = index % 40 === 0 ? MANY_CALLS : CALLS;
      for (let round = 0; round < callCount; round++) {
        const args = parameters.map((type) => randomArgument(type, random));
        const came = call(...args);
        const fold = foldOf(parameters, args);
        const what = `function ${index}: ${result}(${parameters.join(", ")}) of ${args.map(String).join(", ")} (seed ${SEED})`;
        assert.equal(lastFold(), fold, what);
        assert.ok(Object.is(came, resultOf(result, fold)), `${what} gave ${String(came)}`);
      }
    }
  },
);

test(
  `${FUNCTIONS} callbacks of random signatures, as gcc calls them`,
  { skip: needs("gcc", "machineCode") },
  () => {
    const random = new Random(SEED + 1);
    const { functions, lastFold } = compileFunctions(FUNCTIONS, random);
    using allocator = new JitAllocator();
    for (const [index, { callback: signature, callerAddress }] of functions.entries()) {
      const { parameters, result } = signature;
      let seen: readonly unknown[] = [];
      let given: unknown;
      const note = (...args: readonly unknown[]): unknown => {
        seen = args;
        return given;
      };
      using callback = toPointer(wrong<() => never>(note), signature);
      using span = allocator.alloc(16);
      span.write(0, machineCode.jumpFar(callerAddress));
      const call = toFunction(span, { parameters: ["pointer", "u64"], result: "void" });
      for (let round = 0; round < CALLS; round++) {
        const choice = BigInt(random.next()) * BigInt(random.next()) * BigInt(random.next());
        given = result === "void" ? undefined : random.pick(EXTREMES[result]);
        call(callback.address, BigInt.asUintN(64, choice));
        const what = `callback ${index}: ${result}(${parameters.join(", ")}) by ${choice} (seed ${SEED + 1})`;
        const wanted = chosenArguments(parameters, BigInt.asUintN(64, choice));
        assert.equal(seen.length, wanted.length, what);
        for (const [at, value] of wanted.entries()) {
          const isAddress = value === undefined && Number.isSafeInteger(seen[at]) && Number(seen[at]) > 4096;
          assert.ok(
            isAddress || Object.is(seen[at], value),
            `${what}: argument ${at} is ${String(seen[at])}`,
          );
        }
        assert.equal(lastFold(), result === "void" ? 7n : foldOf([result], [given]), what);
      }
    }
  },
);
