/** Finds links of the built site that lead nowhere. */
import path from "node:path";

/** The files of the site by their paths; of pages, the HTML. Other files are there, and nothing more is known of them. */
export type Files = ReadonlyMap<string, string | undefined>;

/** What leads to another place: links, images, scripts, styles. */
const REFERENCE = /<(?:a|img|link|script|source)\b[^>]*?\s(?:href|src)="([^"]*)"/g;

const ANCHOR = /\sid="([^"]*)"/g;

/**
 * Each link that leads nowhere, with its page: to a file that is not there, or to an anchor that its page has not.
 * Links to other sites are not followed.
 *
 * @param base the path below which the site is served; begins and ends with a slash
 */
export function deadLinks(files: Files, base: string): readonly string[] {
  const anchors = new Map<string, ReadonlySet<string>>();
  for (const [file, html] of files) {
    if (html === undefined) continue;
    anchors.set(file, new Set([...html.matchAll(ANCHOR)].map(([, id = ""]) => decodeEntities(id))));
  }
  const dead: string[] = [];
  for (const [file, html = ""] of files) {
    for (const target of new Set(
      [...html.matchAll(REFERENCE)].map(([, text = ""]) => decodeEntities(text)),
    )) {
      if (/^(?:[a-z]+:|\/\/)/.test(target)) continue;
      const [place = "", anchor] = target.split("#");
      const linked = place === "" ? file : fileAt(place, file, base);
      const isThere =
        linked !== undefined &&
        files.has(linked) &&
        (anchor === undefined ||
          anchor === "" ||
          anchors.get(linked)?.has(decodeURIComponent(anchor)) === true);
      if (!isThere) dead.push(`${file}: ${target}`);
    }
  }
  return dead;
}

/** The file that a browser is sent for a link on a page; undefined for what lies outside the site. */
function fileAt(place: string, from: string, base: string): string | undefined {
  const absolute = place.startsWith("/") ? place : path.posix.join(base, path.posix.dirname(from), place);
  if (!absolute.startsWith(base)) return undefined;
  const file = decodeURIComponent(absolute.slice(base.length));
  return file === "" || file.endsWith("/") ? `${file}index.html` : file;
}

function decodeEntities(text: string): string {
  return text
    .replaceAll("&quot;", '"')
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
}
