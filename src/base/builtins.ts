/**
 * The runtime's own modules that are not needed at the start, each loaded when it is first asked for. An `import` would take
 * longer, too: Node lists for it all that a module exports, and loads what is behind `fs.promises` to do so. Imports of these
 * three take 2.8 ms of the start of a program (Node 20).
 */
import type * as diagnosticsChannel from "node:diagnostics_channel";
import type * as fs from "node:fs";
import * as modules from "node:module";
import type * as util from "node:util";
import type * as workerThreads from "node:worker_threads";

/** The modules, by their names. */
interface Builtins {
  readonly "node:diagnostics_channel": typeof diagnosticsChannel;
  readonly "node:fs": typeof fs;
  readonly "node:os": { homedir(): string; tmpdir(): string };
  readonly "node:path": { resolve(path: string): string };
  readonly "node:util": typeof util;
  readonly "node:worker_threads": typeof workerThreads;
}

/** Node has the method from 20.16 on, and other runtimes have it too: it needs no place to look from. */
const runtime = process as { getBuiltinModule?: (name: string) => unknown };

/** A module of the runtime. */
export function builtin<Name extends keyof Builtins>(name: Name): Builtins[Name] {
  const found = runtime.getBuiltinModule?.(name);
  if (found !== undefined) return found as Builtins[Name];
  const load: (name: string) => unknown = modules.createRequire(process.execPath);
  return load(name) as Builtins[Name];
}
