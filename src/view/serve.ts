/// <reference lib="esnext.disposable" preserve="true" />
/** Serves the heap map of a running program: on this machine alone, and to whoever has the address with its token. */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { describe, JitError } from "../base/errors.ts";
import type { HeapSnapshot } from "../insight/snapshot-format.ts";
import { packPage, renderPage } from "./page.ts";
import { pageOfSnapshot } from "./snapshot-page.ts";

/** What has a heap to show: a `JitAllocator`. */
export interface SnapshotSource {
  /** Describes the heap, with the bytes of the code if asked for. */
  snapshot(options?: { readonly code?: boolean }): HeapSnapshot;
}

/** How a heap map is served. */
export interface HeapMapOptions {
  /** The port, on 127.0.0.1; default 0, which takes a free one. */
  readonly port?: number;
  /** What the page is headed with; default: the number of the process. */
  readonly title?: string;
  /** Whether the page also gets the bytes of the code; default false. */
  readonly code?: boolean;
  /** Whether the server keeps the process running that has nothing else to do; default false. */
  readonly keepAlive?: boolean;
}

/** A heap map that is being served, until it is closed or the process ends. */
export interface HeapMapServer extends Disposable {
  /** What a browser opens. Who has it sees the heap: it has the token. */
  readonly url: string;
  /** Ends the server and every page's updates. Idempotent. */
  close(): void;
}

const HOST = "127.0.0.1";
const TOKEN_BYTES = 24;
/** Milliseconds between two looks at the heap. */
const POLL_MS = 500;
/** Of the time that passes, a look may take so much: of a large heap there are fewer. */
const MOST_SHARE = 0.1;

const WRONG_TOKEN =
  "The token of the address is missing or wrong: open the whole address that the program printed";

/** Pages are for those who have the token, and are kept by nobody. */
const HEADERS = {
  "cache-control": "no-store",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/**
 * Serves a page that shows the allocator's heap as it is, and follows it: at most twice a second a snapshot is taken, and
 * only while a page is open. Listens on 127.0.0.1 alone; a request without the token, or by another host name, gets 403.
 *
 * @throws JitError `ERR_INVALID_ARGUMENT` for what is no allocator, for invalid options, and where the port is in use or
 *   cannot be had; `ERR_PERMISSION` where the process may not listen
 * @example
 * import { serveHeapMap } from "jit-allocator/heap-map";
 * using map = await serveHeapMap(allocator);
 * console.log(map.url);
 */
export async function serveHeapMap(
  allocator: SnapshotSource,
  options: HeapMapOptions = {},
): Promise<HeapMapServer> {
  checkSource(allocator);
  const { port, title, code, keepAlive } = resolve(options);
  const map = new ServedMap(allocator, title, code);
  const server = createServer((request, response) => map.answer(request, response));
  if (!keepAlive) {
    server.unref();
    server.on("connection", (socket) => socket.unref());
  }
  map.boundPort = await listen(server, port);
  return {
    url: `http://${HOST}:${map.boundPort}/?token=${map.token}`,
    close: () => close(server, map),
    [Symbol.dispose]: () => close(server, map),
  };
}

/** The pages of one allocator. */
class ServedMap {
  readonly token = randomBytes(TOKEN_BYTES).toString("base64url");
  boundPort = 0;
  readonly #allocator: SnapshotSource;
  readonly #title: string;
  readonly #code: boolean;
  /** The pages that are open, and of each whether it has missed a picture because it did not read. */
  readonly #listeners = new Map<ServerResponse, boolean>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last: HeapSnapshot | undefined;
  /** What the pages were told last. */
  #newest = "";

  constructor(allocator: SnapshotSource, title: string, code: boolean) {
    this.#allocator = allocator;
    this.#title = title;
    this.#code = code;
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const refuse = (status: number, text: string): void => {
      response
        .writeHead(status, { ...HEADERS, "content-type": "text/plain; charset=utf-8" })
        .end(`${text}\n`);
    };
    // A page of another site whose name leads here (DNS rebinding) says that name.
    if (!this.#isOwnHost(request.headers.host)) {
      refuse(403, "This address is not the heap map's");
      return;
    }
    const url = urlOf(request);
    if (url === undefined) refuse(400, "This is no address");
    else if (!this.#isToken(url.searchParams.get("token"))) refuse(403, WRONG_TOKEN);
    else if (request.method !== "GET") refuse(405, "There is nothing to do here but to read");
    else if (url.pathname === "/") this.#sendPage(response, refuse);
    else if (url.pathname === "/events") this.#listen(response);
    else refuse(404, "There is no such page");
  }

  /** Ends the updates of all pages. */
  end(): void {
    clearTimeout(this.#timer);
    for (const listener of this.#listeners.keys()) listener.end();
    this.#listeners.clear();
  }

  #isOwnHost(host: string | undefined): boolean {
    const port = this.boundPort;
    // Of port 80 browsers say nothing: it is the one that an address without a port has.
    return [HOST, "localhost"].some((name) => host === `${name}:${port}` || (port === 80 && host === name));
  }

  #isToken(given: string | null): boolean {
    const [ours, theirs] = [Buffer.from(this.token), Buffer.from(given ?? "")];
    return ours.length === theirs.length && timingSafeEqual(ours, theirs);
  }

  #sendPage(response: ServerResponse, refuse: (status: number, text: string) => void): void {
    let page: string;
    try {
      const data = pageOfSnapshot(this.#title, this.#allocator.snapshot({ code: this.#code }));
      page = renderPage(data, `events?token=${this.token}`);
    } catch (error) {
      refuse(500, `The heap cannot be looked at: ${messageOf(error)}`);
      return;
    }
    response.writeHead(200, { ...HEADERS, "content-type": "text/html; charset=utf-8" }).end(page);
  }

  #listen(response: ServerResponse): void {
    response.writeHead(200, { ...HEADERS, "content-type": "text/event-stream" });
    response.flushHeaders();
    this.#listeners.set(response, false);
    response.on("drain", () => {
      if (this.#listeners.get(response) === true) this.#tell(response);
    });
    response.on("close", () => {
      this.#listeners.delete(response);
      if (this.#listeners.size === 0) clearTimeout(this.#timer);
    });
    // It has missed what happened since its page was made.
    this.#last = undefined;
    this.#look();
  }

  /** Takes a snapshot, tells the pages of it if something has changed, and does so again after a while. */
  #look(): void {
    clearTimeout(this.#timer);
    if (this.#listeners.size === 0) return;
    const start = performance.now();
    try {
      const snapshot = this.#allocator.snapshot({ code: this.#code });
      if (this.#last === undefined || !isSame(this.#last, snapshot)) {
        this.#last = snapshot;
        this.#send(`data: ${packPage(pageOfSnapshot(this.#title, snapshot))}\n\n`);
      }
    } catch (error) {
      this.#send(`event: failed\ndata: ${JSON.stringify(messageOf(error))}\n\n`);
    }
    const wait = Math.max(POLL_MS, (performance.now() - start) / MOST_SHARE);
    this.#timer = setTimeout(() => this.#look(), wait);
    this.#timer.unref();
  }

  #send(text: string): void {
    this.#newest = text;
    for (const listener of this.#listeners.keys()) {
      // What it does not read would pile up here.
      if (listener.writableNeedDrain) this.#listeners.set(listener, true);
      else this.#tell(listener);
    }
  }

  #tell(listener: ServerResponse): void {
    this.#listeners.set(listener, false);
    listener.write(this.#newest);
  }
}

/** What a request asks for; undefined where that is no address. */
function urlOf({ url = "/" }: IncomingMessage): URL | undefined {
  const base = `http://${HOST}`;
  return URL.canParse(url, base) ? new URL(url, base) : undefined;
}

/** Whether two snapshots show the same blocks and allocations. */
function isSame(one: HeapSnapshot, other: HeapSnapshot): boolean {
  return (
    one.spans.length === other.spans.length &&
    one.blocks.length === other.blocks.length &&
    one.blocks.every((block, index) => {
      const { rx, usedSize, size } = other.blocks[index] ?? {};
      return block.rx === rx && block.usedSize === usedSize && block.size === size;
    }) &&
    one.spans.every((span, index) => {
      const { rx, size, name, order, retired, code } = other.spans[index] ?? {};
      return (
        span.rx === rx &&
        span.size === size &&
        span.name === name &&
        span.order === order &&
        span.retired === retired &&
        span.code === code
      );
    })
  );
}

function checkSource(allocator: unknown): asserts allocator is SnapshotSource {
  if (
    (typeof allocator !== "object" && typeof allocator !== "function") ||
    allocator === null ||
    !("snapshot" in allocator) ||
    typeof allocator.snapshot !== "function"
  ) {
    throw refused(`what has a heap is a JitAllocator, not ${describe(allocator)}`);
  }
}

/** Checks the options and fills in the defaults. @throws JitError */
function resolve(options: unknown): Required<HeapMapOptions> {
  if (typeof options !== "object" || options === null) {
    throw refused(`the options must be an object, and are ${describe(options)}`);
  }
  const names = ["port", "title", "code", "keepAlive"];
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) {
      throw refused(`there is no option ${describe(name)}; the options are ${names.join(", ")}`);
    }
  }
  // Each is read once: a getter must not be able to give another value after the check.
  const {
    port = 0,
    title = `process ${process.pid}`,
    code = false,
    keepAlive = false,
  }: Partial<Record<keyof HeapMapOptions, unknown>> = options;
  if (typeof port !== "number" || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw refused(`the port is a whole number from 0 to 65,535, not ${describe(port)}`);
  }
  if (typeof title !== "string") throw refused(`the title is a text, not ${describe(title)}`);
  if (typeof code !== "boolean") throw refused(`code is true or false, not ${describe(code)}`);
  if (typeof keepAlive !== "boolean") {
    throw refused(`keepAlive is true or false, not ${describe(keepAlive)}`);
  }
  return { port, title, code, keepAlive };
}

function refused(reason: string): JitError {
  return new JitError("ERR_INVALID_ARGUMENT", `Cannot serve the heap map: ${reason}`);
}

/** @returns the port. @throws JitError */
async function listen(server: Server, port: number): Promise<number> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, HOST, () => {
        server.off("error", reject);
        // A connection that cannot be accepted is no reason to end the program.
        server.on("error", () => undefined);
        resolve();
      });
    });
  } catch (cause) {
    const failure = cause instanceof Error ? (cause as NodeJS.ErrnoException) : undefined;
    const mayNot = failure?.code === "EACCES" || failure?.code === "EPERM";
    throw new JitError(
      mayNot ? "ERR_PERMISSION" : "ERR_INVALID_ARGUMENT",
      `Cannot serve the heap map on port ${port}: ${failure?.code ?? messageOf(cause)}; port 0 takes a free one`,
      { syscall: "listen", errno: failure?.errno === undefined ? undefined : Math.abs(failure.errno), cause },
    );
  }
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : port;
}

function close(server: Server, map: ServedMap): void {
  map.end();
  server.close();
  server.closeAllConnections();
}

/** Never throws: whoever has a heap to show may throw anything. */
function messageOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return describe(error);
  }
}
