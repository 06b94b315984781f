/**
 * Loaded before everything else (`--import`), it makes this process one that gives no views of native memory, as runtimes with
 * V8's sandbox are: Node's interface refuses them as Electron's does, and every simulated machine does too.
 */
import { JitError } from "../../src/base/errors.ts";
import { requireKoffi } from "../../src/ffi/koffi-module.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";

Object.assign(requireKoffi(), {
  view: () => {
    // The words of Node-API where a runtime has no external buffers.
    throw new Error("External buffers are not allowed");
  },
});

SimulatedMemory.prototype.openView = () => {
  throw new JitError("ERR_FEATURE_NOT_ENABLED", "Cannot open a view: this process gives none");
};
