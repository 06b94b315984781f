/**
 * Links an archive of C into executable memory, and shows what was linked. `node dist/examples/object-file/main.js --help`
 */
import { JitAllocator, JitError, type Address } from "jit-allocator";
import { existsSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { LoadedLibrary } from "./library.ts";
import { LinkError } from "./link-error.ts";
import { reportOf, textOf } from "./report.ts";
import { findArchive } from "./system-archives.ts";
import { compare } from "./trials.ts";

const HELP = `Usage: npm run example:object-file -- [ARCHIVE…] [options]

Links an archive of C, or an object file, into executable memory (ELF, x86-64),
and shows what was linked. libz.a and libsqlite3.a are also compared with the
system's shared libraries.

  ARCHIVE         a file, or the name of one in the system's folders;
                  default: libz.a. Further ones define what the first lacks
  --entry NAME    links only what this function needs; can be repeated
  --library NAME  a shared library that defines what the archive does not;
                  can be repeated; default: libc.so.6 and libm.so.6
  --json          the figures as JSON
  --help          this text
`;

const DEFAULT_ARCHIVE = "libz.a";

function main(): void {
  const { values, positionals } = parseArgs({
    options: {
      entry: { type: "string", multiple: true },
      library: { type: "string", multiple: true },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
    allowPositionals: true,
  });
  if (values.help) {
    console.log(HELP.trimEnd());
    return;
  }
  const files = (positionals.length === 0 ? [DEFAULT_ARCHIVE] : positionals).map(fileOf);
  using allocator = new JitAllocator();
  const loaded: LoadedLibrary[] = [];
  try {
    const symbols = new Map<string, Address>();
    // What the first needs has to be there when it is linked.
    for (const [index, file] of files.reverse().entries()) {
      const isFirst = index === files.length - 1;
      const start = performance.now();
      const library = LoadedLibrary.load(allocator, file, {
        symbols,
        ...(values.library === undefined ? {} : { libraries: values.library }),
        ...(values.entry === undefined || !isFirst ? {} : { entries: values.entry }),
      });
      loaded.push(library);
      for (const [name, address] of library.linked.symbols) symbols.set(name, address);
      if (isFirst) show(allocator, file, library, performance.now() - start, values);
    }
  } finally {
    for (const library of loaded.reverse()) library[Symbol.dispose]();
  }
}

function show(
  allocator: JitAllocator,
  file: string,
  library: LoadedLibrary,
  linkMs: number,
  { entry, json }: { entry?: string[] | undefined; json: boolean },
): void {
  const speed = entry === undefined ? compare(allocator, path.basename(file), library) : undefined;
  const report = reportOf(file, library, linkMs, speed);
  console.log(json ? JSON.stringify(report, undefined, 2) : textOf(report));
}

function fileOf(wanted: string): string {
  const file = existsSync(wanted) ? wanted : findArchive(wanted);
  if (file !== undefined) return file;
  throw new LinkError(`There is no ${wanted}, here or in the folders of the system's libraries`);
}

try {
  main();
} catch (error) {
  const isMistake = error instanceof LinkError || error instanceof JitError || isArgumentError(error);
  if (!isMistake) throw error;
  console.error(error.message);
  process.exitCode = error instanceof JitError ? 1 : 2;
}

/** What parseArgs throws. */
function isArgumentError(error: unknown): error is Error {
  return error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
}
