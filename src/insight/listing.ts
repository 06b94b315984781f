/** Instructions as text: addresses, bytes, arrows for jumps that stay inside, and the names of targets. */
import { JitError } from "../base/errors.ts";
import type { Instruction } from "./disassembly.ts";

/** How a listing looks. */
export interface ListingOptions {
  /** Whether to use the colours of terminals; default false. */
  readonly color?: boolean;
  /** The most bytes of an instruction in one line; default 8. Longer ones go on in the next. */
  readonly bytesPerLine?: number;
}

/** A jump inside the listing: the lines between which its arrow runs, and where it points. */
interface Jump {
  readonly from: number;
  readonly to: number;
  lane: number;
}

/** No code is longer: 2 GiB of the longest instructions. An array may have a length that nobody can walk through. */
const MOST_INSTRUCTIONS = 2 ** 28;

/** The most arrows side by side: further ones are left out. */
const MOST_LANES = 8;

/**
 * Formats instructions, one a line.
 *
 * ```text
 *   7f00a0001040  48 85 ff        test rdi, rdi
 * ╭─7f00a0001043  74 05           je 0x7f00a000104a
 * │ 7f00a0001045  e8 b6 ff ff ff  call 0x7f00a0001000  ; add
 * ╰►7f00a000104a  c3              ret
 * ```
 *
 * @throws JitError `ERR_INVALID_ARGUMENT` for what is no array
 */
export function formatInstructions(
  instructions: readonly Instruction[],
  { color = false, bytesPerLine = 8 }: ListingOptions = {},
): string {
  const given: unknown = instructions;
  if (!Array.isArray(given) || given.length > MOST_INSTRUCTIONS)
    throw new JitError(
      "ERR_INVALID_ARGUMENT",
      "Cannot format: the instructions are what `disassemble` returns",
    );
  const paint = (code: number, text: string): string =>
    color && text !== "" ? `\u001b[${code}m${text}\u001b[39m` : text;
  const perLine = Math.max(1, Math.floor(bytesPerLine));
  const jumps = jumpsOf(instructions);
  const laneCount = jumps.reduce((most, { lane }) => Math.max(most, lane + 1), 0);
  const widest = Math.max(1, ...instructions.map(({ bytes }) => Math.min(bytes.length, perLine)));
  const lines = instructions.flatMap(({ address, bytes, text, targetName }, index) => {
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"));
    const gutter = arrows(jumps, index, laneCount);
    const name = targetName === undefined ? "" : paint(32, `  ; ${targetName}`);
    const bytesColumn = hex
      .slice(0, perLine)
      .join(" ")
      .padEnd(3 * widest - 1);
    const first =
      paint(36, gutter) + paint(33, address.toString(16)) + `  ${paint(90, bytesColumn)}  ${text}${name}`;
    const rest: string[] = [];
    for (let at = perLine; at < hex.length; at += perLine) {
      const passing = arrows(jumps, index + 0.5, laneCount);
      const space = " ".repeat(address.toString(16).length + 2);
      rest.push(paint(36, passing) + space + paint(90, hex.slice(at, at + perLine).join(" ")));
    }
    return [first, ...rest];
  });
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

/** The jumps whose target is an instruction of the listing, the shortest in the inner lanes. */
function jumpsOf(instructions: readonly Instruction[]): readonly Jump[] {
  const lineAt = new Map(instructions.map(({ address }, index) => [address, index]));
  const jumps: Jump[] = [];
  for (const [from, { isJump, target }] of instructions.entries()) {
    const to = isJump === true && target !== undefined ? lineAt.get(target) : undefined;
    if (to !== undefined && to !== from) jumps.push({ from, to, lane: 0 });
  }
  jumps.sort((a, b) => Math.abs(a.to - a.from) - Math.abs(b.to - b.from));
  const placed: Jump[] = [];
  for (const jump of jumps) {
    while (placed.some((other) => other.lane === jump.lane && overlap(other, jump))) jump.lane += 1;
    if (jump.lane < MOST_LANES) placed.push(jump);
  }
  return placed;
}

function overlap(a: Jump, b: Jump): boolean {
  return Math.min(a.from, a.to) <= Math.max(b.from, b.to) && Math.min(b.from, b.to) <= Math.max(a.from, a.to);
}

/** The gutter of one line: two characters a lane, the outermost to the left. A line between two has half a number. */
function arrows(jumps: readonly Jump[], line: number, laneCount: number): string {
  if (laneCount === 0) return "";
  const cells = Array.from({ length: 2 * laneCount }, () => " ");
  // The outer lanes come last, so that a horizontal line that crosses an inner lane stays whole.
  for (const { from, to, lane } of [...jumps].sort((a, b) => a.lane - b.lane)) {
    const column = 2 * (laneCount - 1 - lane);
    const [top, bottom] = from < to ? [from, to] : [to, from];
    if (line < top || line > bottom) continue;
    if (line !== top && line !== bottom) {
      if (cells[column] === " ") cells[column] = "│";
      continue;
    }
    cells[column] = line === top ? "╭" : "╰";
    for (let at = column + 1; at < cells.length; at++) {
      const isCrossing = cells[at] === "│";
      cells[at] = isCrossing ? "┼" : cells[at] === " " ? "─" : (cells[at] ?? "─");
    }
    if (line === to) cells[cells.length - 1] = "►";
  }
  return cells.join("");
}
