/**
 * Links an archive of C into executable memory, and shows what was linked. `node dist/examples/object-file/main.js --help`
 */
import { JitAllocator, JitError } from "jit-allocator";
import { existsSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { LoadedLibrary } from "./library.ts";
import { LinkError } from "./link-error.ts";
import { reportOf, textOf } from "./report.ts";
import { findArchive } from "./system-archives.ts";
import { compare } from "./trials.ts";

const HELP = `Usage: npm run example:object-file -- [ARCHIVE] [options]

Links an archive of C, or an object file, into executable memory (ELF, x86-64),
and shows what was linked. libz.a and libsqlite3.a are also compared with the
system's shared libraries.

  ARCHIVE         a file, or the name of one in the system's folders;
                  default: libz.a
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
  if (positionals.length > 1) throw new LinkError("There is one archive at a time");
  const wanted = positionals[0] ?? DEFAULT_ARCHIVE;
  const file = existsSync(wanted) ? wanted : findArchive(wanted);
  if (file === undefined)
    throw new LinkError(`There is no ${wanted}, here or in the folders of the system's libraries`);

  using allocator = new JitAllocator();
  const start = performance.now();
  using library = LoadedLibrary.load(allocator, file, {
    ...(values.entry === undefined ? {} : { entries: values.entry }),
    ...(values.library === undefined ? {} : { libraries: values.library }),
  });
  const linkMs = performance.now() - start;
  const isWhole = values.entry === undefined;
  const speed = isWhole ? compare(allocator, path.basename(file), library) : undefined;
  const report = reportOf(file, library, linkMs, speed);
  console.log(values.json ? JSON.stringify(report, undefined, 2) : textOf(report));
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
