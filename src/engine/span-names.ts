/** By what name a span is shown. The room above knows the names, and says so here when the first is given. */
import type { SpanHandle } from "./contract.ts";

/** Undefined: no span has a name. */
export const spanNames: { nameOf: ((span: SpanHandle) => string | undefined) | undefined } = {
  nameOf: undefined,
};
