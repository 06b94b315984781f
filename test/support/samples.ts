/** The code samples of documents and docstrings, as modules that can be compiled and run. */

/** A sample, where it stands, and what it says that it prints. */
export interface Sample {
  /** `README.md:31`. */
  readonly place: string;
  readonly module: string;
  /** What it prints, a line each, according to its own comments. */
  readonly output: string;
}

const LANGUAGES: readonly string[] = ["ts", "js", "typescript", "javascript"];

/**
 * A statement and what it comes to: `add(2, 3); // 5`. Comments that are no literal are words, and stay words.
 */
const STATEMENT_WITH_RESULT = /^(\s*)(\S.*);\s+\/\/ (-?\d[\d._]*n?|true|false|undefined|"[^"]*"|\{.*\})$/;

/**
 * What the samples of docstrings take for granted: the objects their text speaks of. The relative imports are those of
 * a file in a folder of its own below `dist/`.
 */
const SURROUNDINGS = `
import { JitAllocator, JitError, JitRuntime, Span, VirtMem, preload, signature } from "jit-allocator";
import { announce, disassemble, formatInstructions, nativeSymbol, toFunction, toPointer } from "jit-allocator";
import { readTrace } from "../src/cli/trace.js";
import { SimulatedMemory } from "../src/vm/simulated.js";
const memory = new SimulatedMemory();
const code = Uint8Array.of(0x8d, 0x04, 0x37, 0xc3);
const allocator = new JitAllocator();
const span = allocator.alloc(64);
span.write(0, code);
const compiled: (readonly [Span, Uint8Array])[] = [[span, code]];
const mapping = VirtMem.allocDualMapping(65536, {});
const { rx } = mapping;
const address = VirtMem.alloc(65536, { read: true, write: true });
`;

/** The samples of a Markdown document: whole programs, as a reader would copy them. */
export function samplesOfDocument(name: string, markdown: string): readonly Sample[] {
  return fencedBlocks(markdown, /^()```(\w*)$/).map(({ line, text }) =>
    toSample(`${name}:${line}`, text, ""),
  );
}

/** The samples of a source file's docstrings: a few lines each, run among the objects they speak of. */
export function samplesOfDocstrings(name: string, source: string): readonly Sample[] {
  return fencedBlocks(source, /^(\s*\* ?)```(\w*)$/).map(({ line, text }) =>
    // The braces let a sample declare anew what its surroundings have.
    toSample(`${name}:${line}`, `{\n${text.replaceAll("…", "/* … */")}}\n`, SURROUNDINGS),
  );
}

interface FencedBlock {
  /** The line of the sample's first line, counted from 1. */
  readonly line: number;
  readonly text: string;
}

/** The blocks between two fences whose language is one of ours. `fence` captures what precedes it, and the language. */
function fencedBlocks(document: string, fence: RegExp): readonly FencedBlock[] {
  const blocks: FencedBlock[] = [];
  let open: { language: string; line: number; text: string; margin: number } | undefined;
  for (const [index, text] of document.split("\n").entries()) {
    const match = fence.exec(text);
    if (match === null) {
      if (open !== undefined) open.text += `${text.slice(open.margin)}\n`;
    } else if (open === undefined) {
      const [, margin = "", language = ""] = match;
      open = { language, line: index + 2, text: "", margin: margin.length };
    } else {
      if (LANGUAGES.includes(open.language)) blocks.push(open);
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`The block that begins in line ${open.line} is never closed`);
  return blocks;
}

function toSample(place: string, text: string, surroundings: string): Sample {
  const results: string[] = [];
  const lines = text.split("\n").map((line) => {
    const [, margin = "", expression = "", result] = STATEMENT_WITH_RESULT.exec(line) ?? [];
    if (result === undefined) return line;
    results.push(`${result.startsWith('"') ? String(JSON.parse(result)) : result}\n`);
    return expression.startsWith("console.log(")
      ? `${margin}${expression};`
      : `${margin}console.log(${expression});`;
  });
  return { place, module: `${surroundings}${lines.join("\n")}`, output: results.join("") };
}
