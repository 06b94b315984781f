/** The heap map of a running program: for whoever has the address, and nobody else; quiet while nobody looks. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { request, Server, ServerResponse, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import path from "node:path";
import { after, describe, test } from "node:test";
import { platform } from "../../src/base/platform.ts";
import { JitAllocator } from "../../src/index.ts";
import {
  serveHeapMap,
  type HeapMapOptions,
  type HeapMapServer,
  type SnapshotSource,
} from "../../src/view/serve.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { runToEnd } from "../support/ended.ts";
import { startOf } from "../support/flags.ts";
import { throwsJitError, wrong } from "../support/expectations.ts";
import { dataOfPage, unpackPage } from "../support/heap-page.ts";

const allocator = new JitAllocator({}, new SimulatedMemory());
allocator.alloc(64, { name: "first" });

const servers: HeapMapServer[] = [];
after(() => servers.forEach((server) => server.close()));

async function serve(...args: Parameters<typeof serveHeapMap>): Promise<HeapMapServer> {
  const server = await serveHeapMap(...args);
  servers.push(server);
  return server;
}

async function ask(
  url: string | URL,
  headers: Record<string, string> = {},
  method = "GET",
): Promise<IncomingMessage> {
  const asked = request(url, { headers, method, agent: false });
  asked.end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  return response;
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return text;
}

interface EventMessage {
  readonly event: string;
  readonly data: string;
}

/** The messages of the page's events. */
async function* messages(response: IncomingMessage): AsyncGenerator<EventMessage, undefined> {
  let text = "";
  for await (const chunk of response) {
    text += String(chunk);
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const [, event = "message", data = ""] =
        /^(?:event: (.*)\n)?data: (.*)$/.exec(text.slice(0, end)) ?? [];
      text = text.slice(end + 2);
      yield { event, data };
    }
  }
  return undefined;
}

function withPath(url: string, pathname: string): URL {
  const changed = new URL(url);
  changed.pathname = pathname;
  return changed;
}

describe("the server of the heap map", () => {
  test("sends a page with the heap to whoever has the whole address", async () => {
    const { url } = await serve(allocator, { title: "mine" });
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/\?token=[\w-]{32}$/);
    const response = await ask(url);
    assert.equal(response.statusCode, 200);
    assert.equal(response.headers["cache-control"], "no-store");
    assert.equal(response.headers["access-control-allow-origin"], undefined);
    const { header } = dataOfPage(await textOf(response));
    assert.equal(header.title, "mine");
    assert.deepEqual(header.names, ["first"]);
  });

  test("refuses without the token, with another, and by another host's name", async () => {
    const { url } = await serve(allocator);
    const { port } = new URL(url);
    const origin = `http://127.0.0.1:${port}`;
    for (const address of [`${origin}/`, `${url.slice(0, -1)}!`, `${url}x`, `${origin}/events`]) {
      assert.equal((await ask(address)).statusCode, 403, address);
    }
    for (const host of [
      "evil.example",
      `evil.example:${port}`,
      "127.0.0.1",
      `127.0.0.1:${Number(port) + 1}`,
    ]) {
      assert.equal((await ask(url, { host })).statusCode, 403, host);
    }
    assert.equal((await ask(url, { host: `localhost:${port}` })).statusCode, 200);
    assert.equal((await ask(withPath(url, "/other"))).statusCode, 404);
    assert.equal((await ask(url, {}, "POST")).statusCode, 405);
  });

  test("answers whatever is asked for, first by the host's name", async () => {
    const { url } = await serve(allocator);
    const { port, search } = new URL(url);
    const statusOf = async (target: string, host: string): Promise<string> => {
      const socket = connect(Number(port), "127.0.0.1");
      socket.end(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      let text = "";
      for await (const chunk of socket) text += String(chunk);
      return text.slice("HTTP/1.1 ".length, "HTTP/1.1 403".length);
    };
    const own = `127.0.0.1:${port}`;
    for (const target of ["//", "///", `//${search}`, "http://[", "/%ff", "*"]) {
      // Bun refuses what is no path by itself, before anybody is asked.
      const refusal = platform.runtime === "bun" && !target.startsWith("/") ? /^40[03]$/ : /^403$/;
      assert.match(await statusOf(target, "evil.example"), refusal, target);
      assert.match(await statusOf(target, own), /^40[034]$/, target);
    }
    assert.equal(await statusOf(`//${search}`, own), "400");
    // As a proxy would ask.
    assert.equal(await statusOf(url, own), "200");
  });

  test("takes the host's name without a port on port 80, and on no other", async (context) => {
    const bound: number[] = [];
    context.mock.method(Server.prototype, "address", function (this: Server) {
      context.mock.restoreAll();
      const real = this.address();
      assert.ok(typeof real === "object" && real !== null);
      bound.push(real.port);
      return { ...real, port: 80 };
    });
    const server = await serve(allocator);
    const asked = new URL(server.url);
    asked.port = String(bound[0]);
    for (const host of ["127.0.0.1", "localhost", "127.0.0.1:80"]) {
      assert.equal((await ask(asked, { host })).statusCode, 200, host);
    }
    assert.equal((await ask(asked, { host: "evil.example" })).statusCode, 403);
  });

  test("lets no pictures pile up for a page that does not read, and shows it the newest when it does", async (context) => {
    const own = new JitAllocator({}, new SimulatedMemory());
    own.alloc(64);
    let [looks, newest] = [0, ""];
    const source: SnapshotSource = {
      snapshot: () => {
        const snapshot = own.snapshot();
        newest = `${++looks} ${randomBytes(200_000).toString("base64")}`;
        return { ...snapshot, spans: snapshot.spans.map((span) => ({ ...span, name: newest })) };
      },
    };
    const { url } = await serve(source);
    let due = (): void => undefined;
    const { setTimeout: given } = globalThis;
    const written = context.mock.method(ServerResponse.prototype, "write");
    const pictures = (): number => written.mock.callCount();
    try {
      globalThis.setTimeout = Object.assign(
        (act: () => void) => ((due = act), given(() => undefined, 0)),
        given,
      );
      const response = await ask(withPath(url, "/events"));
      response.pause();
      // What the system keeps for both sides becomes full, and then what is kept here would grow.
      for (let before = 0; before !== pictures();) {
        assert.ok(looks < 300, `${pictures()} pictures are kept for a page that reads none`);
        await new Promise((resolve) => setImmediate(resolve));
        before = pictures();
        due();
      }
      due();
      assert.ok(pictures() < looks);
      for await (const { data } of messages(response)) {
        const [shown] = unpackPage(data).header.names;
        if (shown === newest) break;
      }
    } finally {
      globalThis.setTimeout = given;
    }
  });

  test("goes on where a connection cannot be accepted", async (context) => {
    const heard: Server[] = [];
    context.mock.method(Server.prototype, "address", function (this: Server) {
      heard.push(this);
      context.mock.restoreAll();
      return this.address();
    });
    const { url } = await serve(allocator);
    assert.ok(heard[0]?.emit("error", new Error("accept EMFILE")));
    assert.equal((await ask(url)).statusCode, 200);
  });

  test("tells an open page what has changed, and once", async () => {
    const own = new JitAllocator({}, new SimulatedMemory());
    own.alloc(64, { name: "one" });
    const { url } = await serve(own);
    const response = await ask(withPath(url, "/events"));
    assert.equal(response.headers["content-type"], "text/event-stream");
    const events = messages(response);
    const next = async (): Promise<readonly string[]> => {
      const { value } = await events.next();
      return unpackPage(value?.data ?? "").header.names;
    };
    assert.deepEqual(await next(), ["one"]);
    const span = own.alloc(64, { name: "two" });
    assert.deepEqual(await next(), ["one", "two"]);
    span.release();
    assert.deepEqual(await next(), ["one"]);
    response.destroy();
  });

  test("looks at the heap only while a page is open", async () => {
    /** The look that is due next: the clock is ours. */
    let due = (): void => undefined;
    const { setTimeout: given } = globalThis;
    let looks = 0;
    const source: SnapshotSource = {
      snapshot: (options) => {
        looks++;
        return allocator.snapshot(options);
      },
    };
    const { url } = await serve(source);
    assert.equal(looks, 0);
    try {
      globalThis.setTimeout = Object.assign(
        (act: () => void) => ((due = act), given(() => undefined, 0)),
        given,
      );
      const response = await ask(withPath(url, "/events"));
      due();
      due();
      assert.equal(looks, 3);
      response.destroy();
      // Until the server has heard of it.
      for (let before = 0; before !== looks;) {
        await new Promise((resolve) => setImmediate(resolve));
        before = looks;
        due();
      }
    } finally {
      globalThis.setTimeout = given;
    }
  });

  test("says so where the heap cannot be looked at, and goes on", async () => {
    let isBroken = true;
    const source: SnapshotSource = {
      snapshot: (options) => {
        if (isBroken) throw new Error("not now");
        return allocator.snapshot(options);
      },
    };
    const { url } = await serve(source);
    const page = await ask(url);
    assert.equal(page.statusCode, 500);
    assert.match(await textOf(page), /not now/);
    const response = await ask(withPath(url, "/events"));
    const events = messages(response);
    assert.deepEqual((await events.next()).value, { event: "failed", data: '"not now"' });
    isBroken = false;
    let event = (await events.next()).value;
    while (event?.event === "failed") event = (await events.next()).value;
    assert.deepEqual(unpackPage(event?.data ?? "").header.names, ["first"]);
    response.destroy();
  });

  test("says so whatever is thrown there", async () => {
    const silent: unknown = Object.create(null);
    const { url } = await serve({
      snapshot: () => {
        throw silent;
      },
    });
    assert.match(await textOf(await ask(url)), /cannot be looked at: an object/);
    const response = await ask(withPath(url, "/events"));
    assert.deepEqual((await messages(response).next()).value, { event: "failed", data: '"an object"' });
  });

  test("ends with close, and at the end of a using block", async () => {
    const server = await serve(allocator);
    const response = await ask(withPath(server.url, "/events"));
    server.close();
    server.close();
    await textOf(response).catch(() => "");
    await assert.rejects(ask(server.url));
    const urlOfEnded = async (): Promise<string> => {
      using scoped = await serve(allocator);
      return scoped.url;
    };
    await assert.rejects(ask(await urlOfEnded()));
  });

  test("refuses what it cannot serve, and a port that is in use", async () => {
    const nothing: unknown = {};
    for (const source of [undefined, null, 1, nothing]) {
      await assert.rejects(serve(wrong(source)), (error) => throwsOf(error, /JitAllocator/));
    }
    for (const port of [-1, 65_536, 0.5, wrong<number>("80")]) {
      await assert.rejects(serve(allocator, { port }), (error) => throwsOf(error, /port/));
    }
    for (const options of [null, 5, "x", wrong<HeapMapOptions>({ prot: 1 })]) {
      await assert.rejects(serve(allocator, wrong(options)), (error) => throwsOf(error, /option/));
    }
    const [text, nothingAtAll] = [wrong<boolean>("yes"), wrong<string>(null)];
    for (const options of [{ code: text }, { keepAlive: text }, { title: nothingAtAll }]) {
      await assert.rejects(serve(allocator, options), (error) =>
        throwsOf(error, new RegExp(Object.keys(options)[0] ?? "")),
      );
    }
    const { port } = new URL((await serve(allocator)).url);
    await assert.rejects(serve(allocator, { port: Number(port) }), (error) =>
      throwsOf(error, new RegExp(`port ${port}: EADDRINUSE`)),
    );
  });

  test("does not keep a program running, unless it is asked to", () => {
    const child = path.join(import.meta.dirname, "serving-child.js");
    const statusOf = (how: string): number | null =>
      runToEnd(process.execPath, [...startOf(child), how]).status;
    assert.equal(statusOf("does not"), 0);
    assert.equal(statusOf("keeps"), 7);
  });
});

function throwsOf(error: unknown, message: RegExp): boolean {
  throwsJitError("ERR_INVALID_ARGUMENT", () => {
    throw error;
  });
  assert.match(String(error), message);
  return true;
}
