/** Plays a trace: the slider, its buttons, and the clock that moves it. */
import { byId, formatCount, make } from "./elements.ts";
import type { PageData } from "../src/view/contract.ts";

/** Seconds that a whole trace takes at speed 1. */
const WHOLE_SECONDS = 20;
const SPEEDS = [0.25, 0.5, 1, 2, 4, 8] as const;
/** Milliseconds between two pictures where somebody wants little motion. */
const CALM_MS = 500;

/** The controls. */
export class Player {
  readonly #onMove: (time: number) => void;
  readonly #slider = byId("time", HTMLInputElement);
  readonly #button = byId("play", HTMLButtonElement);
  readonly #speed = byId("speed", HTMLSelectElement);
  readonly #isCalm = matchMedia("(prefers-reduced-motion: reduce)");
  #data: PageData | undefined;
  #isPlaying = false;
  /** More exact than the slider, which counts in whole operations. */
  #time = 0;
  #lastFrame = 0;

  constructor(onMove: (time: number) => void) {
    this.#onMove = onMove;
    this.#speed.append(...SPEEDS.map((speed) => make("option", { value: String(speed) }, `${speed}×`)));
    this.#speed.value = "1";
    this.#slider.addEventListener("input", () => this.moveTo(this.#slider.valueAsNumber));
    this.#button.addEventListener("click", () => (this.#isPlaying ? this.pause() : this.#play()));
    byId("step-back", HTMLButtonElement).addEventListener("click", () => this.#stepBy(-1));
    byId("step-on", HTMLButtonElement).addEventListener("click", () => this.#stepBy(1));
  }

  /** Plays this trace from now on, and shows a moment of it. */
  setTrace(data: PageData, moment: number): void {
    this.#data = data;
    this.#slider.max = String(data.header.operationCount);
    this.moveTo(moment);
  }

  moveTo(time: number): void {
    const last = this.#data?.header.operationCount ?? 0;
    this.#time = Math.min(Math.max(0, time), last);
    const whole = Math.floor(this.#time);
    this.#slider.value = String(whole);
    const text = this.#describe(whole);
    byId("moment", HTMLOutputElement).value = text;
    this.#slider.setAttribute("aria-valuetext", text);
    this.#onMove(whole);
  }

  pause(): void {
    this.#isPlaying = false;
    this.#showState();
  }

  #play(): void {
    const last = this.#data?.header.operationCount ?? 0;
    if (this.#time >= last) this.moveTo(0);
    this.#isPlaying = true;
    this.#lastFrame = performance.now();
    this.#showState();
    requestAnimationFrame((now) => this.#frame(now));
  }

  #frame(now: number): void {
    if (!this.#isPlaying) return;
    const passed = now - this.#lastFrame;
    if (!this.#isCalm.matches || passed >= CALM_MS) {
      this.#lastFrame = now;
      const last = this.#data?.header.operationCount ?? 0;
      const speed = Number(this.#speed.value) / (WHOLE_SECONDS * 1000);
      // A frame may begin before the click that asked for it was handled.
      this.moveTo(this.#time + Math.max(0, passed) * speed * last);
      if (this.#time >= last) this.pause();
    }
    requestAnimationFrame((next) => this.#frame(next));
  }

  #stepBy(operations: number): void {
    this.pause();
    this.moveTo(Math.floor(this.#time) + operations);
  }

  #showState(): void {
    this.#button.textContent = this.#isPlaying ? "Pause" : "Play";
    this.#button.setAttribute("aria-pressed", String(this.#isPlaying));
  }

  /** `1,200 of 5,000 operations, 0.25 s, phase refill` */
  #describe(time: number): string {
    const data = this.#data;
    if (data === undefined) return "";
    const { operationCount, phases } = data.header;
    const { timeAt, timeMs } = data.columns;
    const parts = [`${formatCount(time)} of ${formatCount(operationCount)} operations`];
    let known = -1;
    for (let low = 0, high = timeAt.length; low < high;) {
      const middle = (low + high) >> 1;
      if ((timeAt[middle] ?? 0) < Math.max(1, time)) low = (known = middle) + 1;
      else high = middle;
    }
    if (known >= 0) parts.push(`${((timeMs[known] ?? 0) / 1e3).toFixed(3)} s`);
    const phase = phases.findLast(({ at }) => at < Math.max(1, time));
    if (phase !== undefined && phases.length > 1) parts.push(phase.name);
    return parts.join(", ");
  }
}
