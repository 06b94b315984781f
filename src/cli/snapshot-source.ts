/** Where `top` has its snapshots from: a running program that listens on a socket, or a file. */
import { readFileSync, readlinkSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import path from "node:path";
import type { HeapSnapshot } from "../index.ts";
import { numberedName } from "../insight/numbered-name.ts";
import { readFile, unreadable, UnreadableFile } from "./files.ts";
import { safeText } from "./text-width.ts";
import { parseJson, readSnapshot, SnapshotError } from "./view-snapshot.ts";

/** The variable that a program listens at. */
export const VARIABLE = "JIT_ALLOCATOR_VIEW";

/** So many allocators of a process are asked whether they are its own. */
const MOST_ALLOCATORS = 64;

/** What the system says where the program behind a socket has ended: before it was asked, or in the middle of an answer. */
const ENDED: readonly string[] = ["ECONNREFUSED", "ECONNRESET", "EPIPE"];

/** Gives one snapshot after the other. */
export interface SnapshotSource {
  /** @throws UnreadableFile where there is none, or no more */
  next(): Promise<HeapSnapshot>;
  close(): void;
}

/** Opens what a path names. @throws UnreadableFile */
export function openSource(name: string): SnapshotSource {
  let isSocket: boolean;
  try {
    isSocket = statSync(name).isSocket();
  } catch (error) {
    throw unreadable(name, error);
  }
  if (isSocket) return new SocketSource(name);
  return {
    next: () => Promise.resolve(readFrom(name, new TextDecoder().decode(readFile(name)))),
    close: () => undefined,
  };
}

/** Opens the first allocator of a process. @throws UnreadableFile where it was not told to listen */
export function openProcess(pid: number): SnapshotSource {
  return new ProcessSource(pid, socketOf(pid));
}

/** The first allocator of a process, which is sought when the first snapshot is asked for. */
class ProcessSource implements SnapshotSource {
  readonly #pid: number;
  readonly #first: string;
  #source: SnapshotSource | undefined;
  #isFound = false;
  #isClosed = false;

  constructor(pid: number, first: string) {
    this.#pid = pid;
    this.#first = first;
  }

  async next(): Promise<HeapSnapshot> {
    if (this.#isFound && this.#source !== undefined) return this.#source.next();
    for (let number = 1; number <= MOST_ALLOCATORS && !this.#isClosed; number++) {
      try {
        this.#source = openSource(numberedName(this.#first, number));
      } catch (error) {
        if (!(error instanceof UnreadableFile)) throw error;
        break;
      }
      try {
        const snapshot = await this.#source.next();
        this.#isFound = snapshot.process.pid === this.#pid;
        if (this.#isFound) return snapshot;
      } catch (error) {
        if (!(error instanceof UnreadableFile)) throw error;
      }
      this.#source.close();
    }
    throw new UnreadableFile(
      `process ${this.#pid} does not listen at ${this.#first}: it has made no allocator yet, or cannot answer`,
    );
  }

  close(): void {
    this.#isClosed = true;
    this.#source?.close();
  }
}

/** The path that a process was told to listen at. */
function socketOf(pid: number): string {
  let variables: string;
  let folder: string;
  try {
    variables = readFileSync(`/proc/${pid}/environ`, "utf8");
    folder = readlinkSync(`/proc/${pid}/cwd`);
  } catch (error) {
    throw unreadable(`the environment of process ${pid}`, error);
  }
  const found = variables.split("\0").find((one) => one.startsWith(`${VARIABLE}=`));
  if (found === undefined)
    throw new UnreadableFile(
      `process ${pid} was started without ${VARIABLE}=PATH, the socket at which it would listen`,
    );
  return path.resolve(folder, found.slice(VARIABLE.length + 1));
}

class SocketSource implements SnapshotSource {
  readonly #name: string;
  readonly #socket: Socket;
  #text = "";
  #failure: UnreadableFile | undefined;
  #told: { resolve(snapshot: HeapSnapshot): void; reject(error: unknown): void } | undefined;

  constructor(name: string) {
    this.#name = name;
    this.#socket = connect(name);
    this.#socket.setEncoding("utf8");
    this.#socket.on("data", (text: string) => this.#read(text));
    this.#socket.on("error", (error: NodeJS.ErrnoException) => {
      if (!ENDED.includes(error.code ?? "")) this.#fail(unreadable(name, error));
    });
    // It comes behind an error too.
    this.#socket.on("close", () => this.#fail(new UnreadableFile(`the program behind ${name} has ended`)));
  }

  next(): Promise<HeapSnapshot> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      this.#told = { resolve, reject };
      this.#socket.write("snapshot\n");
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(text: string): void {
    this.#text += text;
    const end = text.includes("\n") ? this.#text.indexOf("\n") : -1;
    if (end < 0) return;
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    const told = this.#told;
    this.#told = undefined;
    try {
      told?.resolve(readFrom(this.#name, line));
    } catch (error) {
      told?.reject(error);
    }
  }

  #fail(error: UnreadableFile): void {
    this.#failure ??= error;
    this.#told?.reject(this.#failure);
    this.#told = undefined;
  }
}

/** Reads a snapshot, which any program may have written. @throws UnreadableFile */
function readFrom(name: string, text: string): HeapSnapshot {
  try {
    const value = parseJson(text);
    const error = typeof value === "object" && value !== null && "error" in value ? value.error : undefined;
    if (typeof error === "object" && error !== null && "message" in error) {
      const message = safeText(String(error.message));
      throw new UnreadableFile(`the program behind ${name} has no snapshot: ${message}`);
    }
    return readSnapshot(value);
  } catch (error) {
    if (!(error instanceof SnapshotError)) throw error;
    throw new UnreadableFile(`cannot read ${name}: ${error.message}`, { cause: error });
  }
}
