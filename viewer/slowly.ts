/** Acts that take too long for each frame, or each letter. */

/** An act, and when it is done. */
export interface SlowAct {
  /** Soon, and not too often: what is asked for in between is done once. */
  soon(): void;
  /** At once; what was to be done soon is done with it. */
  now(): void;
}

/** Each act has a clock of its own: one that is asked for in each frame must not put off another for ever. */
export function slowly(act: () => void, milliseconds: number): SlowAct {
  let [last, timer]: [number, ReturnType<typeof setTimeout> | undefined] = [-Infinity, undefined];
  const now = (): void => {
    clearTimeout(timer);
    act();
    last = performance.now();
  };
  const soon = (): void => {
    clearTimeout(timer);
    if (performance.now() - last >= milliseconds) now();
    else timer = setTimeout(now, milliseconds);
  };
  return { soon, now };
}
