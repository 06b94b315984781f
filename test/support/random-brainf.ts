/** A generator of numbers in [0, 1) from a seed: the same seed, the same numbers, everywhere. */
export function seededRandom(seed: number): () => number {
  // xorshift32: short, and good enough to choose among a few branches.
  let state = (Math.imul(seed, 0x9e37_79b9) ^ 0x85eb_ca6b) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/**
 * A random Brainf*** program with balanced brackets: straight stretches, counted loops, multiplications,
 * scans, and now and then a loop of no sense at all, which may never end or run off the tape.
 */
export function randomProgram(random: () => number, depth = 3): string {
  const below = (limit: number): number => Math.floor(random() * limit);
  const repeat = (text: string, limit: number): string => text.repeat(1 + below(limit));
  const pieces: string[] = [];
  for (let count = 2 + below(6); count > 0; count--) {
    const kind = random();
    if (kind < 0.25) pieces.push(repeat(random() < 0.6 ? "+" : "-", 5));
    else if (kind < 0.48) pieces.push(repeat(random() < 0.6 ? ">" : "<", 3));
    else if (kind < 0.53) pieces.push(random() < 0.6 ? "." : ",");
    else if (kind < 0.57) pieces.push(random() < 0.7 ? "[-]" : "[+++]");
    else if (kind < 0.61) pieces.push(`[${repeat(random() < 0.6 ? ">" : "<", 2)}]`);
    else if (kind < 0.7) pieces.push(randomMultiplication(below));
    else if (depth === 0) pieces.push("+");
    else if (kind < 0.9) pieces.push(`${repeat("+", 6)}[>${randomProgram(random, depth - 1)}<-]`);
    else pieces.push(`[${randomProgram(random, depth - 1)}]`);
  }
  return pieces.join("");
}

/** A balanced loop that may change its own cell by more than one, and visit cells on both sides. */
function randomMultiplication(below: (limit: number) => number): string {
  const distance = 1 + below(3);
  const [out, back] = below(2) === 0 ? [">", "<"] : ["<", ">"];
  const change = ["+", "-", "---", "+++", "--"][below(5)] ?? "-";
  const work = ["", "+", "++", "-", "-----"][below(5)] ?? "";
  return `[${change}${out.repeat(distance)}${work}${back.repeat(distance)}]`;
}
