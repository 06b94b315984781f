/**
 * One thread of the soak: attaches to the shared allocator, then allocates, writes, runs, shrinks, hands over and
 * releases, turn after turn.
 */
import assert from "node:assert/strict";
import { parentPort, workerData } from "node:worker_threads";
import { JitAllocator, toFunction, type SharedAllocator, type Span } from "../src/index.ts";
import { returnConstant, RUNS_HERE } from "../test/support/native-code.ts";
import { Random } from "../test/support/random.ts";
import { Mailbox } from "./mailbox.ts";

/** The data that a thread is started with. */
export interface SoakJob {
  readonly seed: number;
  /** The first integer: 1 = stop. From byte 8 on: the number of operations that all threads have done. */
  readonly control: SharedArrayBuffer;
  /** For allocations that one thread makes and another releases. */
  readonly mailbox: SharedArrayBuffer;
}

/** The commands to a thread. */
export type SoakCommand =
  | { readonly what: "heap" }
  /** A turn of the load. */
  | { readonly what: "work"; readonly handle: SharedAllocator }
  /** "forget": the thread's allocations were reset. "leave": it releases them and leaves the allocator. */
  | { readonly what: "forget" | "leave" };

/** The answer of a thread. */
export interface SoakAnswer {
  readonly what: SoakCommand["what"];
  /** The used bytes of the thread's heap. */
  readonly usedBytes: number;
}

/**
 * The operations of each thread in a turn, between two moments at which all threads stand still. The memory that an
 * allocator holds depends on its options, and there is one at a time: only the means over many turns can be compared.
 */
const OPERATIONS_PER_TURN = 20_000;
/** The number of live allocations varies around this: some megabytes of code, as a larger engine has. */
const LIVE_COUNT = 2000;
/** The operations between two checks whether to stop, and for messages of the other thread. */
const BATCH = 1000;
/** The share of allocations that are run: making a function takes some microseconds, and leaves garbage. */
const RUN_SHARE = 0.02;
/** The share of releases that are left to another thread. */
const GIVEN_SHARE = 0.1;

const job = workerData as SoakJob;
const shared = new Int32Array(job.control, 0, 1);
const operations = new BigInt64Array(job.control, 8, 1);
const mailbox = new Mailbox(job.mailbox);
const random = new Random(job.seed);
const live: Span[] = [];
let allocator: JitAllocator | undefined;

function step(from: JitAllocator): void {
  const place = random.below(LIVE_COUNT);
  const span = live[place];
  if (span === undefined || random.chance(0.05)) {
    const value = random.next() | 0;
    const made = from.alloc(random.chance(0.02) ? random.between(4096, 100_000) : random.between(6, 2000));
    made.write(0, returnConstant(value));
    if (RUNS_HERE && random.chance(RUN_SHARE)) {
      assert.equal(toFunction(made, { parameters: [], result: "i32" })(), value);
    }
    live.push(made);
    return;
  }
  if (random.chance(0.2)) {
    span.shrink(Math.max(64, span.size >> 1));
  } else if (random.chance(0.05)) {
    from.write(span, (code) => void code.fill(0x90));
  } else {
    const last = live.pop();
    if (last !== undefined && last !== span) live[place] = last;
    if (!random.chance(GIVEN_SHARE) || !give(span)) span.release();
    else receive(from);
  }
}

function give({ token: { rx, generation }, size: sizeBytes }: Span): boolean {
  return mailbox.put(random, { rx, generation, sizeBytes, poolGranularity: 0, kind: 0, mark: 0, claim: 0 });
}

function receive(from: JitAllocator): void {
  const parcel = mailbox.take(random);
  if (parcel === undefined) return;
  const span = from.spanOf(parcel);
  assert.equal(span.size, parcel.sizeBytes);
  span.release();
}

/** Does a turn of the load. Other messages get through between batches. */
async function work(handle: SharedAllocator): Promise<void> {
  const from = (allocator ??= JitAllocator.attach(handle));
  for (let done = 0; done < OPERATIONS_PER_TURN && Atomics.load(shared, 0) === 0; done += BATCH) {
    for (let count = 0; count < BATCH; count++) step(from);
    Atomics.add(operations, 0, BigInt(BATCH));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function leave(): void {
  for (const span of live.splice(0)) span.release();
  allocator?.detach();
  allocator = undefined;
}

function forget(): void {
  for (const span of live.splice(0)) assert.ok(span.isReleased, "a reset releases the spans of all threads");
}

async function obey(command: SoakCommand): Promise<void> {
  if (command.what === "work") await work(command.handle);
  else if (command.what === "leave") leave();
  else if (command.what === "forget") forget();
  const answer: SoakAnswer = { what: command.what, usedBytes: process.memoryUsage().heapUsed };
  parentPort?.postMessage(answer);
}

parentPort?.on("message", (command: SoakCommand) => void obey(command));
