/** Small pieces of machine code for the processor and system that the tests run on: those that run code take it here. */
import { platform } from "../../src/base/platform.ts";
import * as arm64 from "./machine-code-arm64.ts";
import * as x64 from "./machine-code.ts";

// Apple packs arguments on the stack, which the code for Linux does not.
const isArm64Linux = platform.processor === "arm64" && platform.system === "linux";
const code = isArm64Linux ? arm64 : x64;

/** Whether there is code that can run here. Elsewhere the tests that need it have nothing to run. */
export const RUNS_HERE = isArm64Linux || x64.RUNS_HERE;

export const { ADD, SUM_FLOATS, SWAP_BYTE, RETURN } = code;
export const { returnConstant, callAndAddOne, callBoth, jumpFrom, jumpFar, returnParameter } = code;
export { resultOf } from "./machine-code.ts";
