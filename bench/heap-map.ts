/**
 * `npm run bench:heap-map [-- --pictures]`, on Linux with Debian's chromium: the page of a trace of a million operations,
 * in a browser: its size, how long it takes to open, and how smoothly it moves. With `--pictures` it makes those of the
 * guide.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { openHeapMap, startBrowser } from "../test/support/browser.ts";
import { repositoryPath } from "./paths.ts";
import { Random } from "./random.ts";
import { median } from "./turns.ts";

const OPERATIONS = 1_000_000;
/** Allocations that are live in the trace, once it has so many: in a million and a half granules. */
const LIVE = 120_000;
const OPENINGS = 7;
const FRAMES = 240;

const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-heap-map-"));
/** Makes a page by the command. */
function makePage(source: string, environment: NodeJS.ProcessEnv = {}): string {
  const page = path.join(folder, `${path.basename(source)}.html`);
  runCommand(["view", source, "-o", page], environment);
  return page;
}

function runCommand(args: readonly string[], environment: NodeJS.ProcessEnv = {}): void {
  const command = repositoryPath("dist/src/cli/main.js");
  const env = { ...process.env, ...environment };
  const { status, stderr } = spawnSync(process.execPath, [command, ...args], { encoding: "utf8", env });
  if (status !== 0) throw new Error(`jit-allocator ${args.join(" ")}: ${stderr}`);
}

function makeTrace(): string {
  const random = new Random(1);
  const live: number[] = [];
  const lines: string[] = [];
  for (let id = 1; lines.length < OPERATIONS;) {
    if (live.length < LIVE || random.below(2) === 0) {
      lines.push(`a ${id} ${64 + random.below(960)}`);
      live.push(id++);
    }
    if (live.length < LIVE || lines.length === OPERATIONS) continue;
    const index = random.below(live.length);
    lines.push(`f ${live[index] ?? 0}`);
    live[index] = live.at(-1) ?? 0;
    live.pop();
  }
  const file = path.join(folder, "million.trace");
  writeFileSync(file, `${lines.join("\n")}\n`);
  return file;
}

async function measure(inBrowser: Browser): Promise<void> {
  const trace = makeTrace();
  const before = performance.now();
  const page = makePage(trace);
  console.log(`made in          ${((performance.now() - before) / 1000).toFixed(1)} s`);
  const html = readFileSync(page, "utf8");
  const data = /id="heap-map"[^>]*>([^<]*)</.exec(html)?.[1]?.length ?? 0;
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`;
  console.log(`page             ${megabytes(html.length)}, of it data ${megabytes(data)}`);
  const openings: number[] = [];
  for (let opening = 0; opening < OPENINGS; opening++) {
    const { page: shown } = await openHeapMap(inBrowser, pathToFileURL(page).href);
    openings.push(
      await shown.evaluate<number>(`performance.getEntriesByName("heap-map-shown")[0].startTime`),
    );
    await shown.close();
  }
  console.log(`opens in         ${median(openings).toFixed(0)} ms (median of ${OPENINGS})`);

  const { page: shown } = await openHeapMap(inBrowser, pathToFileURL(page).href);
  const cells = await shown.evaluate<string>(`document.getElementById("map").getAttribute("aria-label")`);
  console.log(`shows            ${cells}`);
  await shown.evaluate(MOVES);
  console.log(`\n${"".padEnd(17)}work a frame (ms)   frame to frame: median, 95th percentile (ms)`);
  for (const move of ["nothing", "zoom in", "pan", "zoom out", "play", "drag the slider"]) {
    const { times, work } = await framesOf(shown, move);
    times.sort((one, other) => one - other);
    const [middle = 0, late = 0] = [times[times.length >> 1], times[Math.floor(times.length * 0.95)]];
    const columns = [work.toFixed(1).padStart(17), middle.toFixed(1).padStart(25), late.toFixed(1)];
    console.log(`${move.padEnd(17)}${columns.join("  ")}`);
  }
}

/** What is done in each frame, by name; what the page is asked is text, since there is no browser here. */
const MOVES = `
  const map = document.getElementById("map");
  const slider = document.getElementById("time");
  const box = map.getBoundingClientRect();
  const at = { clientX: box.x + 400, clientY: box.y + 200, bubbles: true, cancelable: true };
  const wheel = (deltaY) => map.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY }));
  const key = (name) => map.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
  window.moves = {
    nothing: () => {},
    "zoom in": () => wheel(-5),
    pan: (frame) => key(frame % 40 < 20 ? "ArrowDown" : "ArrowRight"),
    "zoom out": () => wheel(5),
    play: (frame) => frame === 1 && document.getElementById("play").click(),
    "drag the slider": (frame) => {
      slider.value = String((frame * 77777) % Number(slider.max));
      slider.dispatchEvent(new Event("input"));
    },
  };`;

/** Milliseconds from frame to frame, and of the page's work in one. */
async function framesOf(
  page: Page,
  move: string,
): Promise<{ readonly times: number[]; readonly work: number }> {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const busy = async (): Promise<number> => {
    const { metrics } = await session.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "TaskDuration")?.value ?? 0;
  };
  const start = await busy();
  const times = await page.evaluate<number[]>(`new Promise((done) => {
    const times = [];
    let last;
    const step = (now) => {
      if (last !== undefined) times.push(now - last);
      last = now;
      if (times.length === ${FRAMES}) return done(times);
      window.moves[${JSON.stringify(move)}](times.length + 1);
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  })`);
  const work = ((await busy()) - start) * 1000;
  await session.detach();
  return { times, work: work / FRAMES };
}

/** The pictures of docs/guides/heap-map.md. */
async function takePictures(inBrowser: Browser): Promise<void> {
  const target = (name: string): string => repositoryPath(`docs/pictures/${name}.png`);
  const recorded = path.join(folder, "demo.trace.gz");
  runCommand(["demo"], { JIT_ALLOCATOR_TRACE: recorded });
  const demo = pathToFileURL(makePage(recorded)).href;
  const look = { width: 1280, height: 760 };
  const { page: small } = await openHeapMap(inBrowser, demo, look);
  await small.locator("#map").click();
  await small.locator("#map").focus();
  for (let step = 0; step < 6; step++) await small.keyboard.press("n");
  await small.keyboard.press("0");
  await small.evaluate("document.activeElement.blur(); scrollTo(0, 0)");
  await small.screenshot({ path: target("heap-map-demo") });

  const hotspot = pathToFileURL(makePage(repositoryPath("bench/traces/hotspot-javap.trace.gz"))).href;
  const { page: large } = await openHeapMap(inBrowser, hotspot, {
    ...look,
    height: 1060,
    colorScheme: "dark",
  });
  await large.locator("#time").fill("6000");
  await large.locator("#moment", { hasText: "6,000 of" }).waitFor();
  await large.locator("#map").click({ position: { x: 300, y: 200 } });
  await large.screenshot({ path: target("heap-map-trace") });
  console.log(`docs/pictures/: heap-map-demo.png, heap-map-trace.png`);
}

const browser = await startBrowser();
try {
  if (process.argv.includes("--pictures")) await takePictures(browser);
  else await measure(browser);
} finally {
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
}
