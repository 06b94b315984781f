/** What a terminal can show: colours or none, and how many columns. */
import { isGranted } from "../base/platform.ts";

/** A stream that may be a terminal. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Reads a variable of the environment, by its name. */
export type Variables = (name: string) => string | undefined;

/**
 * The variables of this process; undefined also where it may not read one. (On a terminal, Deno would ask its user for
 * each.)
 */
export const ownVariables: Variables = (name) =>
  isGranted({ name: "env", variable: name }) ? process.env[name] : undefined;

/** The columns of the terminal that a stream is; undefined where it is no terminal, or does not tell. */
export function columnsOf({ isTTY, columns }: OutputStream): number | undefined {
  return isTTY === true && columns !== undefined && columns > 0 ? columns : undefined;
}

/**
 * Whether colours go to a stream. FORCE_COLOR decides where it is set (0 and false: none). Else there are no colours
 * where NO_COLOR is set, where the stream is no terminal, or where the terminal is not known to show them. An empty
 * variable counts as not set. The stream's own hasColors() is not used, because Deno's asks the user for permissions.
 */
export function showsColor(stream: OutputStream, variables: Variables = ownVariables): boolean {
  const forced = variables("FORCE_COLOR") ?? "";
  if (forced !== "") return forced !== "0" && forced !== "false";
  if ((variables("NO_COLOR") ?? "") !== "" || stream.isTTY !== true) return false;
  const terminal = variables("TERM");
  // Windows' own terminals do not set TERM, and show colours.
  return terminal === undefined ? variables("OS") === "Windows_NT" : terminal !== "dumb" && terminal !== "";
}
