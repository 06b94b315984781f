/** What a terminal shows: whether colours, and how many columns. */
import { isGranted } from "../base/platform.ts";

/** A stream that may be a terminal. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** The variables of the environment that are looked at, by their names. */
export type Variables = (name: string) => string | undefined;

/** Those of this process; undefined also where it may not look. Deno would ask its user for each on a terminal. */
export const ownVariables: Variables = (name) =>
  isGranted({ name: "env", variable: name }) ? process.env[name] : undefined;

/** The columns of the terminal that a stream is; undefined where it is none, or does not tell. */
export function columnsOf({ isTTY, columns }: OutputStream): number | undefined {
  return isTTY === true && columns !== undefined && columns > 0 ? columns : undefined;
}

/**
 * Whether colours go to a stream. FORCE_COLOR decides where it is set (0 and false: none); else there are none where NO_COLOR
 * is set, or the stream is no terminal, or one that is not known to show them. An empty variable counts as not set.
 * The stream's own hasColors() is not asked, since Deno's asks the user for permissions.
 */
export function showsColor(stream: OutputStream, variables: Variables = ownVariables): boolean {
  const forced = variables("FORCE_COLOR") ?? "";
  if (forced !== "") return forced !== "0" && forced !== "false";
  if ((variables("NO_COLOR") ?? "") !== "" || stream.isTTY !== true) return false;
  const terminal = variables("TERM");
  // Windows' own terminals set none, and show colours.
  return terminal === undefined ? variables("OS") === "Windows_NT" : terminal !== "dumb" && terminal !== "";
}
