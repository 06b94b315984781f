/** A worker that has a shared allocator, and does with it what it is told. */
import { parentPort, workerData } from "node:worker_threads";
import {
  JitAllocator,
  JitError,
  type SharedAllocator,
  type Span,
  type SpanToken,
} from "../../../src/index.ts";

/** What it can be told. It keeps one span: the last that it made or was told to keep. */
export type Command =
  | { readonly what: "alloc"; readonly size: number; readonly byte: number }
  | { readonly what: "code"; readonly bytes: readonly number[] }
  | { readonly what: "read" | "keep" | "release"; readonly rx: number }
  | { readonly what: "size" | "readOwn" | "writeOwn" | "verify" | "detach" | "dispose" };

/** What it answers. */
export interface Reply {
  readonly error?: string;
  readonly size?: number;
  readonly bytes?: readonly number[];
  readonly token?: SpanToken;
}

const allocator = JitAllocator.attach(workerData as SharedAllocator);
let own: Span | undefined;

function act(command: Command): Reply {
  switch (command.what) {
    case "alloc":
      own = allocator.alloc(command.size);
      own.write(0, new Uint8Array(command.size).fill(command.byte));
      return { token: own.token };
    case "code":
      own = allocator.alloc(command.bytes.length);
      own.write(0, Uint8Array.from(command.bytes));
      return { token: own.token };
    case "read": {
      const span = allocator.query(command.rx);
      return { bytes: [...span.read(0, 3)], size: span.size };
    }
    case "keep":
      own = allocator.query(command.rx);
      return { size: own.size };
    case "release":
      allocator.release(command.rx);
      return {};
    case "size":
      return { size: own?.size ?? 0 };
    case "readOwn":
      return { bytes: [...(own?.read() ?? [])] };
    case "writeOwn":
      own?.write(0, Uint8Array.of(1));
      return {};
    case "verify":
      allocator.verify();
      return {};
    case "detach":
      allocator.detach();
      return {};
    case "dispose":
      allocator.dispose();
      return {};
  }
}

parentPort?.on("message", (command: Command) => {
  let reply: Reply;
  try {
    reply = act(command);
  } catch (error) {
    reply = { error: error instanceof JitError ? error.code : String(error) };
  }
  parentPort?.postMessage(reply);
});
