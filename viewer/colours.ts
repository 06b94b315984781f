/** The colours of pieces: by what they are coloured, and what each colour means. */
import type { Heap } from "./heap.ts";

/** What colours can tell. */
export const COLOURINGS = ["tag", "kind", "size", "age", "thread"] as const;
export type Colouring = (typeof COLOURINGS)[number];

export type Theme = "light" | "dark";

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [red: number, green: number, blue: number];

/** What a colour means. */
export interface LegendEntry {
  readonly label: string;
  readonly colour: Rgb;
}

/** Colours that people with any kind of colour vision tell apart, after Okabe and Ito, lighter on dark. */
const CATEGORIES: Readonly<Record<Theme, readonly Rgb[]>> = {
  light: [
    [0, 114, 178],
    [213, 94, 0],
    [0, 138, 102],
    [178, 96, 148],
    [176, 126, 0],
    [60, 150, 205],
    [122, 82, 184],
    [148, 60, 60],
  ],
  dark: [
    [86, 170, 232],
    [240, 140, 60],
    [60, 190, 150],
    [222, 140, 190],
    [224, 184, 70],
    [140, 200, 240],
    [176, 150, 240],
    [226, 120, 120],
  ],
};
/** What has no name, or comes after the categories that have a colour. */
const OTHER: Readonly<Record<Theme, Rgb>> = { light: [118, 124, 132], dark: [140, 147, 156] };

/** From little to much. */
const RAMPS: Readonly<Record<Theme, readonly Rgb[]>> = {
  light: [
    [198, 219, 239],
    [107, 174, 214],
    [49, 120, 190],
    [60, 60, 150],
    [60, 20, 90],
  ],
  dark: [
    [50, 60, 110],
    [60, 110, 170],
    [60, 165, 180],
    [130, 210, 140],
    [250, 235, 120],
  ],
};

/** Cells that no piece has. */
export const GROUND: Readonly<
  Record<Theme, { readonly free: Rgb; readonly unmapped: Rgb; readonly padding: Rgb }>
> = {
  light: { free: [232, 235, 239], unmapped: [255, 255, 255], padding: [196, 202, 210] },
  dark: { free: [38, 43, 51], unmapped: [18, 21, 26], padding: [72, 79, 90] },
};

/** The tag of a name: what comes before the first `:` or `.`; empty where there is neither. */
export function tagOf(name: string): string {
  const end = name.search(/[:.]/);
  return end < 0 ? "" : name.slice(0, end);
}

/** A colour as the memory of a picture has it, on machines of every kind in use: red first. */
export function packed([red, green, blue]: Rgb): number {
  return (0xff00_0000 | (blue << 16) | (green << 8) | red) >>> 0;
}

/** The colours of all pieces, and the legend. */
export function coloursOf(
  heap: Heap,
  colouring: Colouring,
  theme: Theme,
): { readonly colours: Uint32Array; readonly legend: readonly LegendEntry[] } {
  switch (colouring) {
    case "tag": {
      const tags = heap.header.names.map(tagOf);
      const tagOfPiece = (piece: number): string => tags[(heap.columns.name[piece] ?? 0) - 1] ?? "";
      return categories(heap, theme, tagOfPiece, "no tag");
    }
    case "kind":
      return categories(heap, theme, (piece) => heap.kindOf(piece), "not known");
    case "thread": {
      const label = (piece: number): string => {
        const thread = heap.columns.thread[piece] ?? 0;
        return thread === 0 ? "" : `thread ${thread}`;
      };
      return categories(heap, theme, label, "not known");
    }
    case "size": {
      const { granularity } = heap;
      let longest = 1;
      for (let piece = 0; piece < heap.count; piece++)
        longest = Math.max(longest, heap.sizeOf(piece) / granularity);
      const scale = Math.max(1, Math.log2(longest));
      return ramp(heap, theme, (piece) => Math.log2(heap.sizeOf(piece) / granularity) / scale, [
        formatSize(granularity),
        formatSize(Math.round(Math.sqrt(longest)) * granularity),
        formatSize(longest * granularity),
      ]);
    }
    case "age": {
      const { order } = heap.columns;
      const newest = order.reduce((most, one) => Math.max(most, one), 0);
      if (newest === 0) return categories(heap, theme, () => "", "not known");
      return ramp(heap, theme, (piece) => (order[piece] ?? 0) / newest, ["oldest", "", "newest"]);
    }
  }
}

/** `1.5 KiB` */
export function formatSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = "B";
  for (const larger of units) {
    if (value < 1024) break;
    value /= 1024;
    unit = larger;
  }
  return `${value >= 100 ? value.toFixed(0) : String(Number(value.toFixed(1)))} ${unit}`;
}

/** Those with most bytes have a colour of their own. */
function categories(
  heap: Heap,
  theme: Theme,
  labelOf: (piece: number) => string,
  unlabelled: string,
): { colours: Uint32Array; legend: LegendEntry[] } {
  const bytes = new Map<string, number>();
  for (let piece = 0; piece < heap.count; piece++) {
    const label = labelOf(piece);
    bytes.set(label, (bytes.get(label) ?? 0) + heap.sizeOf(piece));
  }
  const hasUnlabelled = bytes.delete("");
  const palette = CATEGORIES[theme];
  const labels = [...bytes].sort(([, one], [, other]) => other - one).map(([label]) => label);
  const known = labels.slice(0, palette.length);
  // Kinds and threads keep their colours whichever has most bytes.
  known.sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
  const colourOf = new Map(known.map((label, index) => [label, packed(palette[index] ?? OTHER[theme])]));
  const other = packed(OTHER[theme]);
  const colours = new Uint32Array(heap.count);
  for (let piece = 0; piece < heap.count; piece++) colours[piece] = colourOf.get(labelOf(piece)) ?? other;
  const legend = known.map((label, index) => ({ label, colour: palette[index] ?? OTHER[theme] }));
  const rest = labels.length - known.length;
  if (rest > 0) legend.push({ label: `${rest} more`, colour: OTHER[theme] });
  if (hasUnlabelled) legend.push({ label: unlabelled, colour: OTHER[theme] });
  return { colours, legend };
}

function ramp(
  heap: Heap,
  theme: Theme,
  shareOf: (piece: number) => number,
  labels: readonly string[],
): { colours: Uint32Array; legend: LegendEntry[] } {
  const stops = RAMPS[theme];
  const steps = Array.from({ length: 64 }, (_, index) => packed(between(stops, index / 63)));
  const colours = new Uint32Array(heap.count);
  for (let piece = 0; piece < heap.count; piece++) {
    colours[piece] = steps[Math.round(63 * Math.min(1, Math.max(0, shareOf(piece))))] ?? 0;
  }
  const legend = labels.flatMap((label, index) =>
    label === "" ? [] : [{ label, colour: between(stops, index / (labels.length - 1)) }],
  );
  return { colours, legend };
}

function between(stops: readonly Rgb[], share: number): Rgb {
  const at = share * (stops.length - 1);
  const [low, high] = [stops[Math.floor(at)], stops[Math.ceil(at)]];
  if (low === undefined || high === undefined) return [0, 0, 0];
  const part = at - Math.floor(at);
  const mix = (one: number, other: number): number => Math.round(one + (other - one) * part);
  return [mix(low[0], high[0]), mix(low[1], high[1]), mix(low[2], high[2])];
}
