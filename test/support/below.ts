import { beginCallback, endCallback } from "../../src/link/signals.ts";

/** Does something as a callback does it that machine code has called; the machine code goes on behind it. */
export function below(act: () => void): void {
  const outer = beginCallback();
  try {
    act();
  } finally {
    endCallback(outer);
  }
}
