/**
 * Lets `jit-allocator top` look into a running program: where the environment says so (JIT_ALLOCATOR_VIEW), each allocator
 * listens on a Unix socket, and answers each line with a snapshot in one line of JSON. Nothing is made until somebody asks.
 */
import { builtin } from "../base/builtins.ts";
import { isGranted, platform } from "../base/platform.ts";
import type { Observer } from "../engine/contract.ts";
import type { AllocatorOperations } from "../engine/operations.ts";
import { requireModule } from "../ffi/require.ts";
import { numberedName } from "./numbered-name.ts";
import { takeSnapshot } from "./snapshot.ts";

const VARIABLE = "JIT_ALLOCATOR_VIEW";

/** Only the user may connect. */
const OWNER_ONLY = 0o600;

/** Bytes that the system has for the path of a socket; it, or the runtime, cuts off what is longer. */
const MOST_BYTES = platform.system === "linux" ? 107 : platform.system === "windows" ? Infinity : 103;

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
let isListening = false;

/**
 * Serves snapshots of an allocator that has just been made, if the environment says so. What fails is a warning: the program
 * has not asked for it.
 * @param operations those of now: an allocator that becomes shared has others from then on
 */
export function viewByEnvironment(operations: () => AllocatorOperations): void {
  if (variable === null) variable = askForPath();
  if (variable === undefined) return;
  const view = new View(operations, variable);
  operations().observe(view);
  waiting.push(view);
  if (!isLooking) lookNext();
}

/** The program may go to another folder later. */
function askForPath(): string | undefined {
  const named = isGranted({ name: "env", variable: VARIABLE }) ? process.env[VARIABLE] : undefined;
  return named === undefined || named === "" ? undefined : builtin("node:path").resolve(named);
}

/** The allocators of this thread that wait. One at a time looks for its path, so that no two find the same one left behind. */
const waiting: View[] = [];
let isLooking = false;

function lookNext(): void {
  let view = waiting.shift();
  while (view?.isOver === true) view = waiting.shift();
  isLooking = view !== undefined;
  view?.look(1);
}

/** What an allocator is looked into by, from the first look for a path until the allocator is disposed of. */
class View implements Observer {
  readonly #operations: () => AllocatorOperations;
  readonly #first: string;
  /** Whether the allocator is disposed of, or there is nowhere to listen. */
  isOver = false;
  #server: Server | undefined;
  readonly #connections = new Set<Socket>();
  /** Where it listens. */
  #path: string | undefined;

  constructor(operations: () => AllocatorOperations, first: string) {
    this.#operations = operations;
    this.#first = first;
  }

  /** Listens at the path of that number, or where somebody else does that, at a later one. */
  look(number: number): void {
    try {
      if (this.isOver) lookNext();
      else this.#listen(numberedName(this.#first, number), number);
    } catch (error) {
      this.#fail(error);
    }
  }

  #listen(path: string, number: number): void {
    const { length } = new TextEncoder().encode(path);
    if (length > MOST_BYTES)
      throw new Error(`${path} has ${length} bytes, and a socket's path at most ${MOST_BYTES}`);
    const net = requireModule("node:net") as Net;
    const server = net.createServer((socket) => {
      this.#connections.add(socket);
      socket.once("close", () => this.#connections.delete(socket));
      answer(socket, this.#operations);
    });
    this.#server = server;
    server.unref();
    server.once("error", (error) => {
      if (error.code === "EADDRINUSE") this.#meet(net, path, number);
      else this.#fail(error);
    });
    server.once("listening", () => this.#begin(path));
    server.listen(path);
  }

  /** Decides about what is at a path. */
  #meet(net: Net, path: string, number: number): void {
    const found = identityOf(path);
    if (found === NO_SOCKET) {
      this.#fail(new Error(`${path} is there already, and is no socket`));
      return;
    }
    whenKnown(net, path, (isServed) => {
      if (isServed) this.look(number + 1);
      else if (found === undefined || removeIf(path, found)) this.look(number);
      else this.#fail(new Error(`${path} is left of another program, and cannot be removed`));
    });
  }

  /** It listens. */
  #begin(path: string): void {
    try {
      this.#path = path;
      builtin("node:fs").chmodSync(path, OWNER_ONLY);
      sockets.set(path, identityOf(path));
      if (this.isOver) this.#close();
      if (!isListening) process.once("exit", () => sockets.forEach((known, one) => removeIf(one, known)));
      isListening = true;
    } catch (error) {
      this.#fail(error);
      return;
    }
    lookNext();
  }

  /** Gives up. */
  #fail(error: unknown): void {
    this.#end();
    warn(error);
    lookNext();
  }

  ended(_rx: number | undefined, how?: "reset" | "dispose"): void {
    if (how === "dispose") this.#end();
  }

  #end(): void {
    this.isOver = true;
    this.#operations().unobserve(this);
    this.#close();
  }

  /** Listens no more, and answers nobody any more. */
  #close(): void {
    for (const connection of this.#connections) connection.destroy();
    if (this.#path === undefined) return;
    this.#server?.close();
    removeIf(this.#path, sockets.get(this.#path));
    sockets.delete(this.#path);
    this.#path = undefined;
  }
}

/** What the system says where nobody listens: to what is left of a program, and where nothing is left. */
const UNHEARD: readonly (string | undefined)[] = ["ECONNREFUSED", "ENOENT"];

/** Whether somebody listens there, for this user or for another one, or too busy to answer; it is told later. */
function whenKnown(net: Net, path: string, told: (isServed: boolean) => void): void {
  const socket = net.connect(path);
  socket.unref();
  socket.once("connect", () => {
    socket.destroy();
    told(true);
  });
  socket.once("error", ({ code }) => told(!UNHEARD.includes(code)));
}

function answer(socket: Socket, operations: () => AllocatorOperations): void {
  // Whoever looks keeps no program running.
  socket.unref();
  socket.setEncoding("utf8");
  let isAsked = false;
  let isAnswering = false;
  const answerNext = (): void => {
    isAnswering = isAsked;
    if (!isAsked) return;
    isAsked = false;
    // Whoever does not read what he has asked for is sent no more of it.
    if (socket.write(`${describe(operations())}\n`)) setImmediate(answerNext);
    else socket.once("drain", answerNext);
  };
  socket.on("data", (text) => {
    // Several questions that wait have one answer.
    isAsked ||= text.includes("\n");
    if (isAnswering || !isAsked) return;
    isAnswering = true;
    setImmediate(answerNext);
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
