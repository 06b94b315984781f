/**
 * Reads archives, as `ar` writes them: `libz.a`.
 *
 * ```text
 * !<arch>\n ┬ header: 60 bytes ┬ member ┬ \n where the length is odd ┬ header ┬ …
 *           │ name 0  size 48  │
 * ```
 *
 * A name of more than 15 characters stands in the member `//`, and its header has `/` and the offset in there. The member
 * `/` is the linker's index of symbols; this linker reads all symbol tables, and needs no index.
 */
import { LinkError } from "./link-error.ts";
import { Reader } from "./reader.ts";

/** A file inside an archive. */
export interface Member {
  /** `libz.a(deflate.o)`, as linkers write it. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

const MAGIC = "!<arch>\n";
const THIN_MAGIC = "!<thin>\n";
const HEADER_BYTES = 60;
const NAME_BYTES = 16;
const SIZE_AT = 48;
const SIZE_BYTES = 10;
const HEADER_END_AT = 58;
const HEADER_END = "`\n";

/**
 * The members of an archive in their order; of a file that is no archive, itself.
 *
 * @param file its name, for messages
 * @throws LinkError where it is truncated, damaged, or a thin archive
 */
export function readMembers(file: string, bytes: Uint8Array): readonly Member[] {
  const reader = new Reader(file, bytes);
  const text = (at: number, length: number, what: string): string =>
    String.fromCharCode(...reader.slice(at, length, what));
  const magic = String.fromCharCode(...bytes.subarray(0, MAGIC.length));
  if (magic === THIN_MAGIC) {
    throw new LinkError(
      `${file} is a thin archive: its members are files elsewhere. Make one without ar's option T`,
    );
  }
  if (magic !== MAGIC) return [{ name: file, bytes }];

  const members: Member[] = [];
  let longNames = "";
  let at = MAGIC.length;
  while (at < bytes.length) {
    const header = text(at, HEADER_BYTES, "header of a member");
    const size = Number(header.slice(SIZE_AT, SIZE_AT + SIZE_BYTES));
    if (header.slice(HEADER_END_AT) !== HEADER_END || !Number.isInteger(size) || size < 0) {
      throw new LinkError(`${file} is damaged: there is no header of a member at ${at}`);
    }
    const field = header.slice(0, NAME_BYTES).trimEnd();
    const what = `member ${field}`;
    const start = at + HEADER_BYTES;
    if (field === "//") longNames = text(start, size, what);
    else if (field !== "/" && field !== "/SYM64/") {
      const name = nameOf(field, longNames);
      members.push({ name: `${file}(${name})`, bytes: reader.slice(start, size, `member ${name}`) });
    } else reader.slice(start, size, what);
    at = start + size + (size % 2);
  }
  return members;
}

/** `deflate.o/` is the name itself, `/17` one among the long names. */
function nameOf(field: string, longNames: string): string {
  if (!field.startsWith("/")) return field.replace(/\/$/, "");
  const offset = Number(field.slice(1));
  return longNames.slice(offset).split("/\n", 1)[0] ?? "";
}
