/** Listings of the code in a snapshot, by whichever decoder is installed. */
import { disassemble, formatInstructions, type InstructionDecoder } from "../index.ts";
import type { HeapSnapshot } from "../insight/snapshot-format.ts";
import type { Lister } from "../view/snapshot-page.ts";

/** Bytes of code that are listed: their text is some fifteen times as long. What follows is shown as bytes. */
const MOST_LISTED_BYTES = 2 ** 21;

/** Bytes that unused memory often has, in such a number at the end of a span, are no code. */
const FILLINGS: readonly number[] = [0x00, 0xcc];
const LEAST_FILLING = 4;

/** Makes listings; undefined where no decoder is installed that knows the processor, or the snapshot has no code. */
export async function listerFor({ spans, process }: HeapSnapshot): Promise<Lister | undefined> {
  if (!spans.some(({ code }) => code !== undefined)) return undefined;
  const decoder = await decoderFor(process.system.split(" ").at(-1) ?? "");
  if (decoder === undefined) return undefined;
  const names = new Map(spans.map(({ rx, name }) => [rx, name]));
  let listed = 0;
  return (code, rx) => {
    const bytes = code.subarray(0, code.length - fillingOf(code));
    listed += bytes.length;
    if (listed > MOST_LISTED_BYTES) return undefined;
    const instructions = disassemble({ rx, bytes }, decoder, { nameOf: (address) => names.get(address) });
    const rest = code.length - bytes.length;
    return formatInstructions(instructions) + (rest === 0 ? "" : `\n… ${rest} bytes of filling`);
  };
}

async function decoderFor(processor: string): Promise<InstructionDecoder | undefined> {
  const isX64 = processor === "x64";
  if (!isX64 && processor !== "arm64") return undefined;
  if (isX64) {
    try {
      const { icedDecoder } = await import("../insight/iced.ts");
      return icedDecoder();
    } catch {
      // It is not installed; the other one may be.
    }
  }
  try {
    const { capstoneDecoder } = await import("../insight/capstone.ts");
    return await capstoneDecoder(processor);
  } catch {
    return undefined;
  }
}

/** How many bytes at the end are filling. */
function fillingOf(code: Uint8Array): number {
  const last = code.at(-1) ?? 1;
  if (!FILLINGS.includes(last)) return 0;
  let start = code.length;
  while (start > 0 && code[start - 1] === last) start--;
  const count = code.length - start;
  return count >= LEAST_FILLING ? count : 0;
}
