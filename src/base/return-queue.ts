/**
 * What all rooms have to know of callbacks: how many are running, so that machine code is on the stack below them, and what
 * waits until that machine code has returned. One for each thread, since each thread has its own modules.
 */

/**
 * What calls of machine code, and releases, have to look at. Compilers treat a field that was never written as a constant,
 * so a thread without callbacks has nothing to look at.
 */
export const signals = {
  /** Whether this thread has ever made a callback. */
  mayCallBack: false,
  /** Whether there is something for a call of machine code to throw, or to do. */
  isRaised: false,
  /** How many callbacks of this thread are running, one below the other. */
  depth: 0,
};

/** What is to be done when no machine code is on the stack. */
let queue: (() => void)[] = [];

/** Whether something waits until machine code has returned. */
export function isWaiting(): boolean {
  return queue.length > 0;
}

/**
 * Does something once the outermost call of machine code has returned. To be called in a callback. What the action throws is
 * dropped, since nobody has asked for it then, and it is done again behind the next call.
 */
export function afterReturn(action: () => void): void {
  queue.push(action);
  signals.isRaised = true;
}

/** Does what waits, if no callback is running. */
export function runReturned(): void {
  if (signals.depth > 0) return;
  const actions = queue;
  queue = [];
  for (const action of actions) {
    try {
      action();
    } catch {
      afterReturn(action);
    }
  }
}
