/** JIT_ALLOCATOR_VIEW: a program answers whoever asks for a snapshot, and is none the worse for it. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import type { HeapSnapshot } from "../../src/index.ts";
import { needs } from "../support/requirements.ts";
import { startViewed } from "../support/viewed-program.ts";

const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-view-"));
after(() => rmSync(folder, { recursive: true }));

const child = path.join(import.meta.dirname, "viewed-child.js");

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
    program.process.stdin?.write("dispose");
    const { stdout } = program.process;
    assert.ok(stdout !== null);
    await once(stdout, "data");
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
