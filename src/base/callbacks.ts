/** How deep this thread is below machine code. One for each thread, since each thread has its own modules. */
export const callbacks = {
  /** How many callbacks of this thread are running, one below the other: so often machine code is on the stack. */
  depth: 0,
  /** How many calls of machine code have returned, of those that lay below no other and that somebody waited for. */
  returns: 0,
  /** Whether somebody waits for the outermost call of machine code to return. */
  isAwaited: false,
};

const waiting: (() => void)[] = [];

/** Calls `act`, which must not throw, when the outermost call of machine code has returned that is running now. */
export function whenReturned(act: () => void): void {
  callbacks.isAwaited = true;
  waiting.push(act);
}

/** Called when an outermost call has returned that somebody waits for. */
export function noteReturn(): void {
  callbacks.isAwaited = false;
  callbacks.returns++;
  for (const act of waiting.splice(0)) act();
}
