/** What goes wrong when an object file or an archive is read, linked or loaded. */

/** The message names the file, and as far as they are known the member, the section, the offset and the symbol. */
export class LinkError extends Error {
  override name = "LinkError";
}

/** Offsets and addresses as the tools of the field print them. */
export function hex(value: number): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}
