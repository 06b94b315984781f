/**
 * Lets `jit-allocator top` look into a running program: where the environment says so (JIT_ALLOCATOR_VIEW), each allocator
 * listens on a Unix socket, and answers each line with a snapshot in one line of JSON. Nothing is made until somebody asks.
 */
import { builtin } from "../base/builtins.ts";
import { isGranted } from "../base/platform.ts";
import type { AllocatorOperations } from "../engine/operations.ts";
import { requireModule } from "../ffi/require.ts";
import { numberedName } from "./numbered-name.ts";
import { takeSnapshot } from "./snapshot.ts";

const VARIABLE = "JIT_ALLOCATOR_VIEW";

/** Only the user may connect. */
const OWNER_ONLY = 0o600;

/** The part of node:net that is used here. */
interface Net {
  readonly createServer: (connected: (socket: Socket) => void) => Server;
  readonly connect: (path: string) => Socket;
}

interface Emitter {
  once(event: string, told: (error: NodeJS.ErrnoException) => void): unknown;
}

interface Socket extends Emitter {
  setEncoding(encoding: "utf8"): unknown;
  on(event: string, told: (text: string) => void): unknown;
  write(text: string): boolean;
  destroy(): unknown;
  unref(): unknown;
}

interface Server extends Emitter {
  listen(path: string): unknown;
  close(): unknown;
  unref(): unknown;
}

/** The path that the environment names. Null: it has not been asked yet. */
let variable: string | undefined | null = null;

/** The sockets of this thread, which are removed at its end, and what tells each from a later one at its path. */
const sockets = new Map<string, string | undefined>();

/**
 * Serves snapshots of an allocator that has just been made, if the environment says so. What fails is a warning: the program
 * has not asked for it.
 * @param operations those of now: an allocator that becomes shared has others from then on
 */
export function viewByEnvironment(operations: () => AllocatorOperations): void {
  if (variable === null)
    variable = isGranted({ name: "env", variable: VARIABLE }) ? process.env[VARIABLE] : undefined;
  if (variable === undefined || variable === "") return;
  const path = variable;
  waiting.push(() => serve(requireModule("node:net") as Net, operations, path, 1));
  if (!isLooking) lookNext();
}

/** The allocators of this thread that wait. One at a time looks for its path, so that no two find the same one left behind. */
const waiting: (() => void)[] = [];
let isLooking = false;

function lookNext(): void {
  const look = waiting.shift();
  isLooking = look !== undefined;
  try {
    look?.();
  } catch (error) {
    fail(error);
  }
}

/** Gives up looking for a path. */
function fail(error: unknown): void {
  warn(error);
  lookNext();
}

/** Listens at the path, or where somebody else does that, at the path with a number. */
function serve(net: Net, operations: () => AllocatorOperations, first: string, number: number): void {
  const path = numberedName(first, number);
  const server = net.createServer((socket) => answer(socket, operations));
  server.unref();
  server.once("error", (error) => {
    if (error.code !== "EADDRINUSE") {
      fail(error);
      return;
    }
    const found = identityOf(path);
    whenKnown(net, path, (isServed) => {
      if (isServed) serve(net, operations, first, number + 1);
      else if (found === NO_SOCKET) fail(new Error(`${path} is there already, and is no socket`));
      else if (found === undefined || removeIf(path, found)) serve(net, operations, first, number);
      else fail(new Error(`${path} is left of another program, and cannot be removed`));
    });
  });
  server.once("listening", () => {
    builtin("node:fs").chmodSync(path, OWNER_ONLY);
    if (sockets.size === 0)
      process.once("exit", () => sockets.forEach((identity, one) => removeIf(one, identity)));
    const identity = identityOf(path);
    sockets.set(path, identity);
    const stop = {
      ended: (_rx: number | undefined, how?: "reset" | "dispose"): void => {
        if (how !== "dispose") return;
        server.close();
        removeIf(path, identity);
        sockets.delete(path);
        operations().unobserve(stop);
      },
    };
    operations().observe(stop);
    lookNext();
  });
  server.listen(path);
}

/** Whether somebody listens there; it is told later. */
function whenKnown(net: Net, path: string, told: (isServed: boolean) => void): void {
  const socket = net.connect(path);
  socket.unref();
  socket.once("connect", () => {
    socket.destroy();
    told(true);
  });
  socket.once("error", () => told(false));
}

function answer(socket: Socket, operations: () => AllocatorOperations): void {
  // Whoever looks keeps no program running.
  socket.unref();
  socket.setEncoding("utf8");
  let isAsked = false;
  socket.on("data", (text) => {
    // Several questions that wait have one answer.
    if (!text.includes("\n") || isAsked) return;
    isAsked = true;
    setImmediate(() => {
      isAsked = false;
      socket.write(`${describe(operations())}\n`);
    });
  });
  socket.on("error", () => socket.destroy());
}

function describe(operations: AllocatorOperations): string {
  try {
    return JSON.stringify(takeSnapshot(operations, false));
  } catch (error) {
    return JSON.stringify({ error: { message: error instanceof Error ? error.message : String(error) } });
  }
}

/** The identity of what is there and is no socket. */
const NO_SOCKET = "no socket";

/** What tells the socket at a path from a later one there; undefined where nothing is there, or that cannot be told. */
function identityOf(path: string): string | undefined {
  try {
    const found = builtin("node:fs").lstatSync(path, { bigint: true });
    return found.isSocket() ? `${found.ino} ${found.ctimeNs}` : NO_SOCKET;
  } catch {
    return undefined;
  }
}

/**
 * Removes what is at a path, if it is what was found there: another allocator may have removed that, and listen there by now.
 * Returns whether it is gone.
 */
function removeIf(path: string, found: string | undefined): boolean {
  if (identityOf(path) === found) {
    try {
      builtin("node:fs").unlinkSync(path);
    } catch {
      // Seen below.
    }
  }
  return identityOf(path) !== found;
}

function warn(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  process.emitWarning(`The heap cannot be viewed: ${message}`, { code: VARIABLE });
}
