/** toFunction against a C compiler: functions of random signatures, called with extreme values. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { JitAllocator, toFunction } from "../../../src/index.ts";
import { wrong } from "../../support/expectations.ts";
import { compileFunctions, foldOf, randomArgument, resultOf } from "../../support/c-functions.ts";
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
