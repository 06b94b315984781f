/** The chart of live, reserved and resident bytes. */
import uPlot from "uplot";
import { formatSize } from "./colours.ts";
import type { Rgb, Theme } from "./colours.ts";
import { byId, legendItem, make } from "./elements.ts";
import type { Series } from "./heap.ts";

const HEIGHT = 190;

/** The distances of the lines of the vertical axis: round numbers of bytes. */
const POWERS = Array.from({ length: 48 }, (_, exponent) => 2 ** exponent);

const LINES: Readonly<Record<Theme, readonly Rgb[]>> = {
  light: [
    [0, 114, 178],
    [110, 118, 128],
    [190, 90, 20],
  ],
  dark: [
    [86, 170, 232],
    [157, 167, 180],
    [240, 150, 80],
  ],
};

/** What the horizontal axis counts. */
export type ChartAxis = "operations" | "clock";

/** The chart. A click on it chooses a moment. */
export class Chart {
  readonly #onChoose: (at: number) => void;
  readonly #element = byId("chart", HTMLElement);
  #plot: uPlot | undefined;
  readonly #mark = make("div", { class: "mark" });
  #markedAt: number | undefined;

  constructor(onChoose: (at: number) => void) {
    this.#onChoose = onChoose;
    new ResizeObserver(() =>
      this.#plot?.setSize({ width: this.#element.clientWidth, height: HEIGHT }),
    ).observe(this.#element);
  }

  /** @param residentLabel what the third line is */
  show(series: Series, axis: ChartAxis, theme: Theme, residentLabel: string): void {
    this.#plot?.destroy();
    const colours = LINES[theme];
    const labels = ["live", "reserved", residentLabel];
    const css = (index: number): string => `rgb(${(colours[index] ?? [0, 0, 0]).join(" ")})`;
    const quiet = theme === "light" ? "#57606b" : "#9da7b4";
    const grid = theme === "light" ? "#e4e8ed" : "#2b313b";
    const lines = { stroke: quiet, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    // Bytes stay as they are until they change.
    const paths = uPlot.paths.stepped?.({ align: 1 });
    const line = { points: { show: false }, ...(paths === undefined ? {} : { paths }) };
    const options: uPlot.Options = {
      width: Math.max(200, this.#element.clientWidth),
      height: HEIGHT,
      scales: {
        x: { time: axis === "clock" },
        y: { range: (_plot, _low, high) => [0, Math.max(1, high * 1.08)] },
      },
      cursor: { drag: { x: false, y: false } },
      axes: [
        {
          ...lines,
          size: 32,
          ...(axis === "clock"
            ? {}
            : { values: (_plot, values) => values.map((value) => value.toLocaleString("en-US")) }),
        },
        {
          ...lines,
          size: 76,
          incrs: POWERS,
          values: (_plot, values) => values.map((value) => formatSize(value)),
        },
      ],
      series: [
        {},
        { ...line, label: labels[0] ?? "", stroke: css(0), width: 2, fill: `${css(0).slice(0, -1)} / 0.12)` },
        { ...line, label: labels[1] ?? "", stroke: css(1), width: 1.5 },
        { ...line, label: labels[2] ?? "", stroke: css(2), width: 1.5, dash: [5, 4] },
      ],
      hooks: { setSize: [() => this.#markAgain()] },
    };
    const data: uPlot.AlignedData = [series.at, series.live, series.reserved, series.resident];
    this.#plot = new uPlot(options, data, this.#element);
    this.#markAgain();
    this.#plot.over.addEventListener("click", (event) => {
      const plot = this.#plot;
      if (plot !== undefined) this.#onChoose(plot.posToVal(event.offsetX, "x"));
    });
    byId("chart-legend", HTMLElement).replaceChildren(
      ...labels.map((label, index) => legendItem(label, colours[index] ?? [0, 0, 0])),
    );
    const [live, reserved] = [Math.max(0, ...series.live), Math.max(0, ...series.reserved)];
    const text = `Bytes over time: at most ${formatSize(live)} live and ${formatSize(reserved)} reserved`;
    this.#element.setAttribute("aria-label", text);
  }

  #markAgain(): void {
    if (this.#markedAt !== undefined) this.mark(this.#markedAt);
  }

  /** Marks the moment that is shown. Moves an element, where drawing the chart anew would cost a part of each frame. */
  mark(at: number): void {
    this.#markedAt = at;
    const plot = this.#plot;
    if (plot === undefined) return;
    if (this.#mark.parentElement !== plot.over) plot.over.append(this.#mark);
    this.#mark.style.transform = `translateX(${plot.valToPos(at, "x").toFixed(1)}px)`;
  }
}
