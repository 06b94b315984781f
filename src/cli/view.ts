/** `jit-allocator view`: a snapshot or a trace as a page for the browser, in one file. */
import { spawn } from "node:child_process";
import { statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { platform } from "../base/platform.ts";
import type { JitAllocatorOptions } from "../index.ts";
import type { PageData } from "../view/contract.ts";
import { renderPage } from "../view/page.ts";
import { pageOfSnapshot } from "../view/snapshot-page.ts";
import {
  allocatorFlags,
  allocatorFlagsHelp,
  allocatorOptions,
  type FlagConfig,
  type FlagValue,
} from "./allocator-flags.ts";
import { readArgs, UsageError } from "./args.ts";
import type { Command, CommandIo } from "./command.ts";
import { inputOf, readFile } from "./files.ts";
import { omissionsOf, traceFailure, type Failure } from "./trace-failures.ts";
import { NotesReader } from "./trace-notes.ts";
import { fileText, readTrace } from "./trace.ts";
import { listerFor } from "./view-listing.ts";
import { placeByReplay } from "./view-replay.ts";
import { looksLikeSnapshot, parseJson, readSnapshot, SnapshotError } from "./view-snapshot.ts";
import { pageOfTrace, placeByNotes } from "./view-trace.ts";
import { wrap } from "./wrap.ts";

const help = `Usage: jit-allocator view FILE [options]

Makes a page of a heap: a map, a table, charts, and for a trace a player. The
page is one file of HTML, which any browser opens and which needs no server.
Only you may read it, as it tells where code lies.

FILE is a snapshot (the JSON of allocator.snapshot()) or an allocation trace;
either may be gzip where its name ends in .gz. - reads either from standard
input. A trace that was recorded has addresses, names and times; any other is
run on a fresh allocator, and the page shows where that one puts everything.

Options:
  --output OUT, -o OUT     write the page to OUT (default: beside FILE, with
                           .html for its ending)
  --open                   open it in a browser
  --json                   print one line of JSON
  --help, -h               print this text

${allocatorFlagsHelp}

Exit codes: 0 done, 1 the file cannot be read, run or written,
2 the command line was wrong.
`;

const flags: Readonly<Record<string, FlagConfig>> = {
  ...allocatorFlags,
  output: { type: "string", short: "o" },
  open: { type: "boolean" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
};

interface ViewRequest {
  readonly path: string;
  readonly output: string;
  readonly open: boolean;
  readonly json: boolean;
  readonly options: JitAllocatorOptions;
}

/** Only the user may read it: like a trace it tells where code lies. */
const OWNER_ONLY = 0o600;

/** A page that could not be written, with the system's reason. */
class UnwritableFile extends Error {}

/** @returns undefined where only the help is asked for. @throws UsageError */
function parseRequest(args: readonly string[]): ViewRequest | undefined {
  const parsed = readArgs(args, flags, 1);
  const values: Readonly<Record<string, FlagValue>> = parsed.values;
  if (values["help"] === true) return undefined;
  const [file] = parsed.positionals;
  if (file === undefined) throw new UsageError("a FILE is missing");
  const given = values["output"];
  const output = typeof given === "string" ? given : outputBeside(file);
  if (output === "") throw new UsageError("--output takes the name of a file");
  if (file !== "-" && isSameFile(output, file)) {
    throw new UsageError(`the page would replace ${file}; name another with --output`);
  }
  const [open, json] = [values["open"] === true, values["json"] === true];
  return { path: file, output, open, json, options: allocatorOptions(values) };
}

/** Whether two names are of one file, through links too. */
function isSameFile(one: string, other: string): boolean {
  if (path.resolve(one) === path.resolve(other)) return true;
  try {
    const [first, second] = [statSync(one, { bigint: true }), statSync(other, { bigint: true })];
    return first.dev === second.dev && first.ino === second.ino;
  } catch {
    // One of them is not there, or cannot be looked at.
    return false;
  }
}

/** `heap.json` and `jit.trace.gz` become `heap.html` and `jit.html`. */
function outputBeside(file: string): string {
  return file === "-"
    ? "heap-map.html"
    : `${file.replace(/\.gz$/, "").replace(/(?<=[^/\\])\.(json|trace|txt)$/, "")}.html`;
}

async function pageDataOf(request: ViewRequest, bytes: Uint8Array, io: CommandIo): Promise<PageData> {
  const title = request.path === "-" ? "standard input" : path.basename(request.path);
  const text = fileText(request.path, bytes);
  if (looksLikeSnapshot(text)) {
    const snapshot = readSnapshot(parseJson(new TextDecoder().decode(text)));
    return pageOfSnapshot(title, snapshot, await listerFor(snapshot));
  }
  const reader = new NotesReader();
  const trace = readTrace(request.path, bytes, (...comment) => reader.read(...comment));
  for (const note of omissionsOf(trace, request.path))
    io.stderr(wrap(`jit-allocator view: ${note}\n`, io.stderrColumns));
  const notes = reader.notesOn(trace);
  const isReplayed = notes.addressCount === 0;
  const placement = isReplayed ? await placeByReplay(trace, request.options) : placeByNotes(trace, notes);
  return pageOfTrace(title, trace, notes, placement, isReplayed);
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text, { mode: OWNER_ONLY });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UnwritableFile(`cannot write ${file}: ${reason.replace(/, [a-z]+( '.*')?$/, "")}`, {
      cause: error,
    });
  }
}

/** Opens a file in whatever the system opens pages with. @param whenNot is called where there is no such program */
function openInBrowser(file: string, whenNot: () => void): void {
  const address = pathToFileURL(path.resolve(file)).href;
  const options = { detached: true, stdio: "ignore" } as const;
  const child =
    platform.system === "windows"
      ? spawn("rundll32", ["url.dll,FileProtocolHandler", address], options)
      : spawn(platform.system === "darwin" ? "open" : "xdg-open", [address], options);
  child.on("error", whenNot);
  child.unref();
}

function failureOf(error: unknown, { path: file }: ViewRequest, bytes: Uint8Array): Failure {
  const name = file === "-" ? "standard input" : file;
  if (error instanceof SnapshotError) return { message: `${name}: ${error.message}`, exitCode: 1 };
  if (error instanceof UnwritableFile) return { message: error.message, exitCode: 1 };
  return traceFailure(error, file, bytes);
}

/** The command. */
export const view: Command = {
  help,
  async run(args: readonly string[], io: CommandIo): Promise<number> {
    const request = parseRequest(args);
    if (request === undefined) {
      io.stdout(wrap(help, io.columns));
      return 0;
    }
    let bytes: Uint8Array = new Uint8Array(0);
    try {
      bytes = request.path === "-" ? inputOf("the snapshot or trace", io) : readFile(request.path);
      const data = await pageDataOf(request, bytes, io);
      const page = renderPage(data);
      write(request.output, page);
      const { source, operationCount } = data.header;
      const result = {
        page: request.output,
        bytes: Buffer.byteLength(page),
        source,
        ...(source === "trace" ? { operations: operationCount } : { spans: data.columns.start.length }),
      };
      io.stdout(request.json ? `${JSON.stringify(result)}\n` : `${request.output}\n`);
      const say = (): void =>
        io.stderr("jit-allocator view: no program was found to open the page with; open it yourself\n");
      if (request.open) openInBrowser(request.output, say);
      return 0;
    } catch (error) {
      const { message, exitCode } = failureOf(error, request, bytes);
      if (request.json) io.stdout(`${JSON.stringify({ error: { message } })}\n`);
      else io.stderr(wrap(`jit-allocator view: ${message}\n`, io.stderrColumns));
      return exitCode;
    }
  },
};
