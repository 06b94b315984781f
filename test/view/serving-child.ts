/** Serves a heap map, and has nothing else to do: `keeps` keeps it running, until somebody is heard of who does not. */
import { JitAllocator } from "../../src/index.ts";
import { serveHeapMap } from "../../src/view/serve.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";

const keepAlive = process.argv[2] === "keeps";
await serveHeapMap(new JitAllocator({}, new SimulatedMemory()), { keepAlive });
// A timer that keeps nothing running is heard of only where something else does.
if (keepAlive) setTimeout(() => process.exit(7), 50).unref();
