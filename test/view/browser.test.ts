/** The heap map in a real browser. Leaves pictures of it in `dist/screenshots/`. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { view } from "../../src/cli/view.ts";
import { JitAllocator } from "../../src/index.ts";
import { serveHeapMap } from "../../src/view/serve.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { Random } from "../support/random.ts";
import { needs } from "../support/requirements.ts";
import type { Look, WatchedPage } from "../support/browser.ts";

const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-browser-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const pictures = path.resolve(import.meta.dirname, "../../screenshots");

const TIERS = ["baseline", "optimized", "regexp", "stub"];

/** A heap as a compiler of several tiers leaves it. */
function busyAllocator(): JitAllocator {
  const random = new Random(16);
  const allocator = new JitAllocator({}, new SimulatedMemory());
  for (let index = 0; index < 900; index++) {
    const tier = TIERS[Math.min(random.below(4), random.below(4))] ?? "";
    const name = `${tier}:function_${index}`;
    const kind = random.chance(0.1) ? "constants" : "code";
    const span = allocator.alloc(random.between(30, 900) * random.between(1, 3), { name, kind });
    allocator.write(span, 0, Uint8Array.of(0x55, 0x48, 0x89, 0xe5, 0x8d, 0x04, 0x37, 0x5d, 0xc3));
    if (random.chance(0.35)) span.release();
  }
  return allocator;
}

/** Makes a page by the command. @returns its address */
async function makePage(name: string, content: string): Promise<string> {
  const source = path.join(folder, name);
  writeFileSync(source, content);
  let output = "";
  const io = { stdout: (text: string | Uint8Array) => (output += String(text)), color: false };
  const code = await view.run([source], {
    ...io,
    stderr: (text) => assert.equal(text, ""),
    readStdin: () => new Uint8Array(0),
  });
  assert.equal(code, 0);
  return pathToFileURL(output.trimEnd()).href;
}

/** A count at the head of the page. */
async function countOf(page: Page, name: string): Promise<number> {
  const text = await page.locator("#counts div", { hasText: name }).first().locator("dd").textContent();
  return Number(text?.replaceAll(",", ""));
}

describe("the heap map in a browser", { skip: needs("chromium") }, () => {
  let browser: Browser;
  let open: (address: string, look?: Look) => Promise<WatchedPage>;
  before(async () => {
    const { openHeapMap, startBrowser } = await import("../support/browser.ts");
    browser = await startBrowser();
    open = (address, look) => openHeapMap(browser, address, look);
    mkdirSync(pictures, { recursive: true });
  });
  after(() => browser.close());

  const allocator = busyAllocator();
  const snapshot = allocator.snapshot({ code: true });
  const count = snapshot.spans.length;

  test("shows a snapshot: each allocation, named, found and selected", async () => {
    const { page, complaints } = await open(await makePage("heap.json", JSON.stringify(snapshot)));
    assert.equal(await countOf(page, "live allocations"), count);
    assert.match((await page.locator("#found").textContent()) ?? "", new RegExp(`^${count} live$`));
    assert.match(
      (await page.locator("#map").getAttribute("aria-label")) ?? "",
      new RegExp(`^${count} live allocations`),
    );

    const wanted = snapshot.spans.find(({ name }) => name?.startsWith("regexp:"));
    assert.ok(wanted?.name !== undefined);
    const matching = snapshot.spans.filter(({ name }) => name?.includes("regexp:function"));
    await page.locator("#search").fill("REGEXP:function");
    await page.locator("#found", { hasText: `${matching.length} of ${count} live` }).waitFor();
    await page.locator("#search").fill(`0x${(wanted.rx + 3).toString(16)}`);
    await page.locator("#search").press("Enter");
    await page.locator("#found", { hasText: `1 of ${count} live` }).waitFor();
    assert.match(
      (await page.locator("#selected").textContent()) ?? "",
      new RegExp(`Name${wanted.name}Address`),
    );
    assert.match((await page.locator("#listing pre").textContent()) ?? "", /55 .*push rbp\n.*mov rbp, rsp\n/);
    assert.equal(await page.locator("#table tr[aria-current]").count(), 1);
    assert.deepEqual(complaints, []);
    await page.close();
  });

  test("goes from one allocation to the next by keys, and selects what is clicked", async () => {
    const { page, complaints } = await open(await makePage("keys.json", JSON.stringify(snapshot)));
    const selected = async (): Promise<string> =>
      (await page.locator("#selected .name").textContent({ timeout: 5000 })) ?? "";
    await page.locator("#map").focus();
    await page.keyboard.press("n");
    assert.equal(await selected(), snapshot.spans[0]?.name);
    await page.keyboard.press("n");
    assert.equal(await selected(), snapshot.spans[1]?.name);
    await page.keyboard.press("p");
    assert.equal(await selected(), snapshot.spans[0]?.name);
    for (const key of ["+", "ArrowRight", "ArrowDown", "-", "0"]) await page.keyboard.press(key);

    // A picture in which one allocation is all that there is: a click in its middle.
    const lonely = new JitAllocator({}, new SimulatedMemory());
    lonely.alloc(60_000, { name: "lonely" });
    await page.goto(await makePage("lonely.json", JSON.stringify(lonely.snapshot())));
    await page.locator("#map").click();
    assert.equal(await selected(), "lonely");
    assert.deepEqual(complaints, []);
    await page.close();
  });

  test("moves and zooms under mouse, wheel and fingers, and goes back", async () => {
    const { page, complaints } = await open(await makePage("moves.json", JSON.stringify(snapshot)));
    const map = page.locator("#map");
    const box = await map.boundingBox();
    assert.ok(box);
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    /** What the map shows when it has drawn what it was asked to. */
    const pictureBehind = async (act: () => Promise<void>): Promise<string> => {
      await act();
      await page.mouse.move(0, 0);
      await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
      return await page.evaluate<string>(`document.getElementById("map").toDataURL()`);
    };
    const session = await page.context().newCDPSession(page);
    const touch = async (type: "touchStart" | "touchMove" | "touchEnd", distance = 0): Promise<void> => {
      const fingers = [-1, 1].map((side, id) => ({ x: x + side * distance, y, id }));
      await session.send("Input.dispatchTouchEvent", {
        type,
        touchPoints: type === "touchEnd" ? [] : fingers,
      });
    };
    const acts: readonly (() => Promise<void>)[] = [
      async () => {
        await page.mouse.move(x, y);
        await page.mouse.wheel(0, -400);
      },
      async () => {
        await page.mouse.move(x, y);
        await page.mouse.down();
        await page.mouse.move(x - 90, y - 40, { steps: 3 });
        await page.mouse.up();
      },
      async () => {
        await touch("touchStart", 40);
        await touch("touchMove", 60);
        await touch("touchMove", 90);
        await touch("touchEnd");
      },
    ];
    const whole = await pictureBehind(() => map.focus());
    const seen = new Set([whole]);
    for (const act of acts) seen.add(await pictureBehind(act));
    assert.equal(seen.size, 1 + acts.length, "each of them shows something else");
    assert.equal(await page.locator("#selected .name").count(), 0, "none of them was a click");
    assert.equal(await pictureBehind(() => map.press("0")), whole);
    assert.deepEqual(complaints, []);
    await page.close();
  });

  test("sorts the table, and turns its pages", async () => {
    const { page } = await open(await makePage("table.json", JSON.stringify(snapshot)));
    const bytes = async (): Promise<number[]> => {
      const texts = await page.locator("#table tbody tr td:nth-child(2)").allTextContents();
      return texts.map((text) => Number(text.replaceAll(",", "")));
    };
    await page.getByRole("button", { name: "Bytes" }).click();
    assert.equal(await page.locator("#table th[aria-sort=descending]").textContent(), "Bytes ↓");
    const sizes = snapshot.spans.map(({ size }) => size).sort((one, other) => other - one);
    assert.deepEqual(await bytes(), sizes.slice(0, 50));
    await page.getByRole("button", { name: "Next page" }).click();
    assert.deepEqual(await bytes(), sizes.slice(50, 100));
    await page.getByRole("button", { name: "Bytes" }).click();
    assert.deepEqual(await bytes(), sizes.toReversed().slice(0, 50));
    await page.close();
  });

  test("shows what was live at each moment of a trace, and plays it", async () => {
    const lines = Array.from({ length: 100 }, (_, index) => `a ${index} ${64 * (1 + (index % 7))}`);
    for (let id = 0; id < 60; id++) lines.push(`f ${id}`);
    const { page, complaints } = await open(await makePage("play.trace", `${lines.join("\n")}\n`));
    assert.equal(await countOf(page, "live allocations"), 40);
    const slider = page.locator("#time");
    await slider.fill("100");
    await page.locator("#counts dd", { hasText: /^100$/ }).waitFor();
    await page.getByRole("button", { name: "One operation back" }).click();
    await page.locator("#counts dd", { hasText: /^99$/ }).waitFor();
    await slider.fill("0");
    await page.locator("#found", { hasText: /^0 live$/ }).waitFor();
    await page.getByLabel("Speed").selectOption("8");
    await page.getByRole("button", { name: "Play" }).click();
    assert.equal(await page.locator("#play").textContent(), "Pause");
    // It stops by itself at the end.
    await page.locator("#play", { hasText: "Play" }).waitFor();
    assert.equal(await slider.inputValue(), "160");
    await page.locator("#counts dd", { hasText: /^40$/ }).first().waitFor();
    assert.equal(await page.locator("#chart canvas").count(), 1);
    assert.deepEqual(complaints, []);
    await page.close();
  });

  test("finds what is typed while a trace plays", async () => {
    const lines = Array.from({ length: 6000 }, (_, index) => [
      `a ${index} 64`,
      `# at ${index} 0x${(2 ** 40 + index * 64).toString(16)} code ${index % 2 === 0 ? "even" : "odd"}`,
    ]);
    const { page, complaints } = await open(await makePage("typed.trace", `${lines.flat().join("\n")}\n`));
    await page.getByLabel("Speed").selectOption("0.25");
    await page.getByRole("button", { name: "Play" }).click();
    await page.locator("#found", { hasText: "live" }).waitFor();
    for (const letter of ["e", "v", "e", "n"]) await page.locator("#search").press(letter);
    await page.locator("#said", { hasText: / of .* live/ }).waitFor({ state: "attached", timeout: 10_000 });
    assert.equal(await page.locator("#play").textContent(), "Pause", "it still plays");
    assert.deepEqual(complaints, []);
    await page.close();
  });

  test("follows a running program, and says when it is gone", async () => {
    const own = new JitAllocator({}, new SimulatedMemory());
    own.alloc(64, { name: "first" });
    const server = await serveHeapMap(own);
    const { page, complaints } = await open(server.url);
    assert.equal(await countOf(page, "live allocations"), 1);
    await page.locator("#live-state", { hasText: "live" }).waitFor();
    const span = own.alloc(64, { name: "second" });
    await page.locator("#table button", { hasText: "second" }).waitFor();
    await page.locator("#table button", { hasText: "second" }).click();
    own.alloc(64, { name: "third" });
    await page.locator("#table button", { hasText: "third" }).waitFor();
    assert.equal(await page.locator("#selected .name").textContent(), "second", "the selection stays");
    span.release();
    await page.locator("#table button", { hasText: "second" }).waitFor({ state: "detached" });
    assert.deepEqual(complaints, []);
    server.close();
    await page.locator("#live-state", { hasText: "does not answer" }).waitFor();
    await page.close();
  });

  test("says what is wrong where it cannot be shown", async () => {
    const address = await makePage("broken.json", JSON.stringify(snapshot));
    const page = await browser.newPage();
    const html = readFileSync(new URL(address), "utf8");
    await page.setContent(html.replace(/(id="heap-map"[^>]*>).{99}/, "$1"));
    await page.locator("#failure", { hasText: "The map cannot be shown" }).waitFor();
    await page.close();
  });

  test("can be used without a pointer: everything has a name, and the focus is seen", async () => {
    const { page } = await open(await makePage("names.trace", "a 1 64\na 2 64\nf 1\n"));
    const nameless = await page.evaluate<string[]>(`
      [...document.querySelectorAll("button, input, select, canvas[tabindex]")]
        .filter((control) => ![
          control.textContent,
          control.getAttribute("aria-label"),
          control.closest("label")?.textContent,
          document.querySelector(\`label[for="\${control.id}"]\`)?.textContent,
        ].some((text) => (text ?? "").trim() !== ""))
        .map((control) => control.outerHTML)`);
    assert.deepEqual(nameless, []);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate("document.activeElement.textContent"), "Skip the map");
    await page.keyboard.press("Tab");
    const outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle");
    assert.equal(outline, "solid");
    await page.close();
  });

  for (const [size, width, height] of [
    ["large", 1440, 1000],
    ["small", 390, 844],
  ] as const) {
    for (const colorScheme of ["light", "dark"] as const) {
      test(`fits a ${size} ${colorScheme} screen`, async () => {
        const { page } = await open(await makePage("heap.json", JSON.stringify(snapshot)), {
          width,
          height,
          colorScheme,
        });
        await page.locator("#table tbody button").nth(4).click();
        await page.getByRole("button", { name: "Fit" }).click();
        const wide = await page.evaluate<number>("document.documentElement.scrollWidth");
        assert.ok(wide <= width, `it is ${wide} wide`);
        const groundNow = (): Promise<string> =>
          page.evaluate<string>("getComputedStyle(document.body).backgroundColor");
        const ground = await groundNow();
        assert.equal(ground, colorScheme === "light" ? "rgb(246, 247, 249)" : "rgb(20, 23, 28)");
        // The switch turns it around.
        const other = colorScheme === "light" ? "dark" : "light";
        await page.screenshot({
          path: path.join(pictures, `${size}-${colorScheme}.png`),
          fullPage: size === "small",
        });
        await page.getByRole("button", { name: `Show in ${other} colours` }).click();
        assert.notEqual(await groundNow(), ground);
        await page.close();
      });
    }
  }
});
