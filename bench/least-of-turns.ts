/** The clock of the small measurements. */

/**
 * The least nanoseconds that a call of each of `bodies` takes. The bodies run in turns, chunk by chunk, so that a slower
 * machine slows them all. A body makes `callsPerChunk` calls itself, so that the call of the body, a function that is not
 * known when the loop is compiled, does not count.
 */
export function leastOfTurns<Name extends string>(
  bodies: Readonly<Record<Name, () => void>>,
  callsPerChunk: number,
  chunks: number,
): Record<Name, number> {
  const names = Object.keys(bodies) as Name[];
  const least = Object.fromEntries(names.map((name) => [name, Infinity])) as Record<Name, number>;
  for (let chunk = 0; chunk < chunks; chunk++) {
    for (const name of names) {
      const before = performance.now();
      bodies[name]();
      const ns = ((performance.now() - before) * 1e6) / callsPerChunk;
      if (ns < least[name]) least[name] = ns;
    }
  }
  return least;
}
