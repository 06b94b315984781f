/** A thread that compresses its part: by the code that another thread has linked, or by what it links itself. */
import { readFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { JitAllocator, type SharedAllocator } from "jit-allocator";
import { Library, LoadedLibrary, type SharedLibrary } from "../../../examples/object-file/library.ts";
import { Zlib } from "../../../examples/object-file/zlib.ts";

/** What the thread is started with. */
export interface Work {
  readonly allocator: SharedAllocator;
  readonly library: SharedLibrary;
  readonly file: string;
  readonly text: Uint8Array;
}

/** What it reports. */
export interface Done {
  readonly byShared: Uint8Array;
  readonly byOwn: Uint8Array;
}

const { allocator: handle, library: shared, file, text } = workerData as Work;
using allocator = JitAllocator.attach(handle);

const attached = Library.attach(allocator, shared);
const byShared = new Zlib((name, signature) => attached.toFunction(name, signature)).compress(text).slice();

using own = LoadedLibrary.fromBytes(allocator, "libz.a", readFileSync(file));
const byOwn = new Zlib((name, signature) => own.toFunction(name, signature)).compress(text).slice();

parentPort?.postMessage({ byShared, byOwn } satisfies Done);
