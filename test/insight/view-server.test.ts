/** JIT_ALLOCATOR_VIEW: a program answers whoever asks for a snapshot, and is none the worse for it. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import { platform } from "../../src/base/platform.ts";
import type { HeapSnapshot } from "../../src/index.ts";
import { runToEnd } from "../support/ended.ts";
import { needs } from "../support/requirements.ts";
import { startViewed } from "../support/viewed-program.ts";

const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-view-"));
after(() => rmSync(folder, { recursive: true }));

const child = path.join(import.meta.dirname, "viewed-child.js");
const oddChild = path.join(import.meta.dirname, "view-server-child.js");

/** @throws Error where nobody answers */
async function ask(file: string, question = "snapshot\n"): Promise<HeapSnapshot> {
  const socket = connect(file).setEncoding("utf8");
  let text = "";
  try {
    await new Promise<void>((resolve, reject) => {
      socket.on("data", (piece: string) => {
        text += piece;
        if (text.endsWith("\n")) resolve();
      });
      socket.on("error", reject);
      socket.on("close", () => reject(new Error("nobody has answered")));
      socket.write(question);
    });
  } finally {
    socket.destroy();
  }
  return JSON.parse(text) as HeapSnapshot;
}

describe("JIT_ALLOCATOR_VIEW", { skip: needs("linux", "machineCode") }, () => {
  test("each allocator listens for the user alone, and answers with a snapshot in a line", async () => {
    const [file, other] = [path.join(folder, "a.sock"), path.join(folder, "a-2.sock")];
    const program = await startViewed("wait share", file, [file, other]);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const first = await ask(file);
    assert.equal(first.process.pid, program.pid);
    assert.deepEqual(
      first.spans.map(({ name, size, thread }) => [name, size, thread]),
      [
        ["first\x1b[31m", 1024, 1],
        ["table", 512, 1],
      ],
    );
    assert.deepEqual(
      (await ask(other, "a\nb\n")).spans.map(({ name }) => name),
      ["other"],
    );
    const looking = connect(other);
    await once(looking, "connect");
    const closed = once(looking, "close");
    program.process.stdin?.write("dispose");
    const { stdout } = program.process;
    assert.ok(stdout !== null);
    await once(stdout, "data");
    await closed;
    assert.ok(existsSync(file) && !existsSync(other), "the socket of a disposed allocator is gone");
    await program.end();
    assert.ok(!existsSync(file));
    assert.equal(program.said(), "");
  });

  test("keeps no program running, and leaves nothing behind", () => {
    const file = path.join(folder, "quick.sock");
    const { status, stderr } = spawnSync(process.execPath, [child], {
      encoding: "utf8",
      env: { ...process.env, JIT_ALLOCATOR_VIEW: file },
      timeout: 60_000,
    });
    assert.deepEqual([status, stderr], [0, ""]);
    assert.ok(!existsSync(file));
  });

  test("takes the place of what was left by a program that was killed", async () => {
    const file = path.join(folder, "killed.sock");
    const files = [file, path.join(folder, "killed-2.sock")];
    const killed = await startViewed("wait", file, files);
    await killed.kill();
    assert.ok(existsSync(file));
    const next = await startViewed("wait", file, files);
    // The paths were there before: their programs are asked until they are the new one.
    const askNext = async (one: string): Promise<HeapSnapshot> => {
      for (;;) {
        try {
          const answer = await ask(one);
          if (answer.process.pid === next.pid) return answer;
        } catch {
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
    };
    const spanCounts = [
      (await askNext(files[0] ?? "")).spans.length,
      (await askNext(files[1] ?? "")).spans.length,
    ];
    assert.deepEqual(spanCounts.sort(), [1, 2], "neither allocator has taken the other's place");
    await next.end();
    assert.equal(next.said(), "");
  });

  /** Runs a program to its end that does what is not expected. */
  function runOdd(how: string, variable: string): { stdout: string; stderr: string } {
    const { status, stdout, stderr } = runToEnd(process.execPath, [oddChild, how], {
      env: { ...process.env, JIT_ALLOCATOR_VIEW: variable },
    });
    assert.equal(status, 0, stderr);
    return { stdout, stderr };
  }

  test("listens where it was told, wherever the program goes", () => {
    const file = path.join(folder, "goes.sock");
    const { stdout, stderr } = runOdd("go", path.relative(process.cwd(), file));
    assert.deepEqual([stdout, stderr], ["listens\n", ""]);
    assert.ok(!existsSync(file));
  });

  test("warns, and goes on, where the path is too long for a socket, or the socket is gone at once", () => {
    const own = path.join(folder, "own");
    mkdirSync(own);
    const { status, stderr } = runToEnd(process.execPath, [child], {
      env: { ...process.env, JIT_ALLOCATOR_VIEW: path.join(own, `${"x".repeat(120)}.sock`) },
    });
    assert.equal(status, 0);
    assert.match(
      stderr,
      /The heap cannot be viewed: .*x\.sock has \d+ bytes, and a socket's path at most \d+/,
    );
    const removed = runOdd("remove", path.join(own, "gone.sock"));
    assert.equal(removed.stdout, "goes on\n");
    assert.match(removed.stderr, /The heap cannot be viewed: ENOENT/);
    assert.deepEqual(readdirSync(own), []);
  });

  test("nobody listens for an allocator that is disposed of, not even for a moment", () => {
    const { stdout, stderr } = runOdd("dispose", path.join(folder, "early.sock"));
    assert.deepEqual([stdout, stderr], ["one is left\n", ""]);
  });

  test("listens to the end of the program once", () => {
    const [one, many] = ["dispose", "many"].map((how) => runOdd(how, path.join(folder, "often.sock")));
    assert.equal(one?.stderr, "");
    assert.equal(many?.stderr, "");
    assert.ok(Number(many.stdout) <= 3, many.stdout);
  });

  const cannotTell = platform.runtime === "bun" && "Bun says of a full queue that nobody listens";
  test("leaves the socket to a program that is too busy to be asked", { skip: cannotTell }, async () => {
    const file = path.join(folder, "busy.sock");
    const script = `require("node:net").createServer().listen({ path: ${JSON.stringify(file)}, backlog: 1 }, () => {
      require("node:fs").writeSync(1, "listens");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    })`;
    const busy = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    const asking: Socket[] = [];
    try {
      await once(busy.stdout, "data");
      for (let isFull = false; !isFull;) {
        const socket = connect(file);
        asking.push(socket);
        isFull = await new Promise<boolean>((resolve) => {
          socket.once("connect", () => resolve(false));
          socket.once("error", () => resolve(true));
        });
      }
      const { ino } = statSync(file);
      const next = await startViewed("wait", file, [path.join(folder, "busy-2.sock")]);
      assert.equal(statSync(file).ino, ino);
      await next.end();
      assert.equal(next.said(), "");
    } finally {
      for (const socket of asking) socket.destroy();
      busy.kill("SIGKILL");
    }
  });

  test("replaces nothing that is no socket", async () => {
    const file = path.join(folder, "a file");
    writeFileSync(file, "kept");
    const running = spawn(process.execPath, [child, "wait"], {
      env: { ...process.env, JIT_ALLOCATOR_VIEW: file, VIEWED: file },
      stdio: ["pipe", "ignore", "pipe"],
    });
    const exited = once(running, "exit");
    let stderr = "";
    // The program goes on until it has said so.
    for await (const text of running.stderr.setEncoding("utf8") as AsyncIterable<string>) {
      stderr += text;
      if (stderr.includes("no socket")) running.stdin.end();
    }
    await exited;
    assert.match(
      stderr,
      /\[JIT_ALLOCATOR_VIEW\].*The heap cannot be viewed: .*is there already, and is no socket/,
    );
    assert.equal(readFileSync(file, "utf8"), "kept");
  });
});
