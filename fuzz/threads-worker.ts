/** One thread of the fuzzer's runs on a shared allocator: obeys the main thread's commands, and reports the results. */
import { parentPort, workerData } from "node:worker_threads";
import { JitAllocator, type SharedAllocator } from "../src/index.ts";
import { Claims } from "./claims.ts";
import { Mailbox } from "./mailbox.ts";
import { ThreadRun, type OwnedPlace, type ThreadPlan } from "./thread-run.ts";

/** The data that a thread is started with. */
export interface ThreadOptions {
  /** The thread's number, from 0. */
  readonly index: number;
  /** The first integer: 1 = stop, because another thread has failed. The others: the operations done by each thread. */
  readonly control: SharedArrayBuffer;
}

/** The commands to a thread. */
export type ThreadCommand =
  | {
      readonly what: "begin";
      readonly handle: SharedAllocator;
      readonly plan: ThreadPlan;
      readonly seed: number;
      readonly claims: SharedArrayBuffer;
      readonly mailbox: SharedArrayBuffer;
    }
  | { readonly what: "work"; readonly operationCount: number }
  | { readonly what: "releaseAll" | "forgetAll" | "end" };

/** The answer of a thread. */
export interface ThreadReport {
  readonly places: readonly OwnedPlace[];
  readonly staleAddresses: readonly number[];
  /** How often the allocator refused something in this run. */
  readonly refusalCount: number;
  /** Undefined = all was as it should be. */
  readonly failure?: { readonly message: string; readonly lastOperations: readonly string[] };
}

const { index, control } = workerData as ThreadOptions;
const shared = new Int32Array(control);
let run: ThreadRun | undefined;

function obey(command: ThreadCommand): void {
  if (command.what === "begin") {
    const { handle, plan, seed, claims, mailbox } = command;
    const allocator = JitAllocator.attach(handle);
    run = new ThreadRun(allocator, plan, seed, new Claims(claims), new Mailbox(mailbox), index);
    return;
  }
  if (command.what !== "work") return run?.[command.what]();
  for (let count = 0; count < command.operationCount && Atomics.load(shared, 0) === 0; count++) {
    run?.step();
    Atomics.add(shared, index + 1, 1);
  }
}

function report(): ThreadReport {
  return {
    places: run?.places ?? [],
    staleAddresses: run?.takeStaleAddresses() ?? [],
    refusalCount: run?.refusalCount ?? 0,
  };
}

parentPort?.on("message", (command: ThreadCommand) => {
  try {
    obey(command);
    parentPort?.postMessage(report());
  } catch (error) {
    Atomics.store(shared, 0, 1);
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const lastOperations = run?.lastOperations ?? [];
    parentPort?.postMessage({ ...report(), failure: { message, lastOperations } } satisfies ThreadReport);
  }
});
