/**
 * `require`, for what is loaded on demand: koffi, and modules that a single runtime has.
 *
 * Bundlers must not see it. webpack stops at `bun:ffi`, which it does not know, and any of them would take koffi in without
 * its binary. So the names of modules are values here, and `createRequire` is a property of a namespace.
 *
 * A bundle is another place than the package: in a CommonJS bundle of esbuild `import.meta.url` is undefined, and webpack
 * writes the address on the machine that bundled in its stead. So in a bundle the bundle's own file and the main script
 * are places to look from as well.
 */
import * as modules from "node:module";

/** webpack replaces `typeof` of this name; nobody else knows it. */
declare const __webpack_require__: unknown;

/** Where code that looks for a module may be. */
export interface Surroundings {
  /** `import.meta.url`. */
  readonly url: unknown;
  /** `__filename`, which only CommonJS has. */
  readonly file: string | undefined;
  /** The program that the process runs. */
  readonly mainScript: string | undefined;
  /** Whether webpack made a bundle of this. */
  readonly isWebpack: boolean;
}

/** The files of this package that hold this code: the published library, and the single module. */
const OWN_FILES: readonly string[] = ["/dist/package/index.js", "/dist/src/ffi/require.js"];

/** A path that a module can be looked for from. An executable may be the main script, as it was typed. */
const ABSOLUTE = /^(?:[\\/]|[A-Za-z]:)/;

const surroundings: Surroundings = {
  url: import.meta.url,
  file: commonJsFile(),
  mainScript: process.argv[1],
  isWebpack: typeof __webpack_require__ === "function",
};

/** `__filename`. Not asked for by `typeof`: webpack takes that for true in ES modules too. */
function commonJsFile(): string | undefined {
  try {
    return __filename;
  } catch {
    return undefined;
  }
}

/** Whether this code was made part of another program's file. */
export function isBundled({ url, isWebpack }: Surroundings = surroundings): boolean {
  return isWebpack || typeof url !== "string" || !OWN_FILES.some((file) => url.endsWith(file));
}

/** The files from which modules are looked for, in this order. */
export function placesToLook(around: Surroundings = surroundings): readonly string[] {
  const { url, file, mainScript } = around;
  const paths = isBundled(around)
    ? [file, mainScript].filter((path) => path !== undefined && ABSOLUTE.test(path))
    : [];
  const places = [url, ...paths].filter((place) => typeof place === "string");
  return [...new Set(places)].filter((place) => `file://${place}` !== url);
}

/**
 * Loads a module.
 * @throws what Node throws where it is not found, or fails while it loads.
 */
export function requireModule(name: string): unknown {
  // A place always finds the runtime's own modules; the program itself is one.
  const [first = process.execPath, ...others] = placesToLook();
  // The usual case, a single place, needs no search: it would take a millisecond of the start.
  const isElsewhere = others.length > 0 && !isFound(name, first);
  const other = isElsewhere ? others.find((place) => isFound(name, place)) : undefined;
  const load: (name: string) => unknown = modules.createRequire(other ?? first);
  return load(name);
}

/** Whether a module can be found from there, or from one of the places where this code is. */
export function isFound(name: string, ...from: readonly string[]): boolean {
  return (from.length > 0 ? from : placesToLook()).some((place) => {
    try {
      modules.createRequire(place).resolve(name);
      return true;
    } catch {
      return false;
    }
  });
}
