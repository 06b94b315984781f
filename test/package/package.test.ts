/** The tests of the packed package, where it can be packed: see packed.ts. */
import { describe } from "node:test";
import { needs } from "../support/requirements.ts";

const skip = needs("bundler");
if (skip === false) await import("./packed.ts");
else describe("the packed package", { skip }, () => undefined);
