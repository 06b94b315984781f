/** What the site changes in a document: where its links lead. The text stays the document's. */
import path from "node:path";

/** Where the target of a link is found: by its path in the repository, to a path in the site or to an address. */
export type Resolve = (target: string, anchor: string | undefined) => string | undefined;

/** Code, which is left alone, or the target of a link or of an image. */
const CODE_OR_TARGET = /^( *)```[\s\S]*?^\1```$|(`+)[^`][\s\S]*?\2(?!`)|\]\(([^()\s]+)\)/gm;

/** Whether a link leaves the repository. */
const HAS_SCHEME = /^[a-z]+:/;

/**
 * The document with links that lead from its place in the site.
 *
 * @param source the document's path in the repository
 * @param page its path in the site
 * @throws Error for a link that leads nowhere
 */
export function rewriteLinks(markdown: string, source: string, page: string, resolve: Resolve): string {
  return markdown.replace(CODE_OR_TARGET, (match, _margin, _ticks, target?: string) => {
    if (target === undefined || HAS_SCHEME.test(target) || target.startsWith("#")) return match;
    const [file = "", anchor] = target.split("#");
    const resolved = resolve(path.posix.join(path.posix.dirname(source), file), anchor);
    if (resolved === undefined) throw new Error(`${source} links to ${target}, which is not there`);
    const place = HAS_SCHEME.test(resolved) ? resolved : relativeLink(page, resolved);
    return `](${place}${anchor === undefined ? "" : `#${anchor}`})`;
  });
}

function relativeLink(from: string, to: string): string {
  const relative = path.posix.relative(path.posix.dirname(from), to);
  return relative.startsWith(".") ? relative : `./${relative}`;
}

/**
 * The title of a document: its first heading, without marks.
 *
 * @throws Error where it does not begin with a heading
 */
export function titleOf(source: string, markdown: string): string {
  const [, heading] = /^# (.+)$/m.exec(markdown) ?? [];
  if (heading === undefined) throw new Error(`${source} has no heading to take its title from`);
  return heading.replaceAll("`", "");
}

/** The first sentence of the first paragraph, in one line; of a link, what it says. */
export function firstSentence(markdown: string): string {
  const [paragraph = ""] = markdown
    .split(/\n{2,}/)
    .map((block) => block.trim())
    .filter((block) => !/^(#|```|\||- |<|!)/.test(block) && block !== "");
  const line = paragraph.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/\s+/g, " ");
  return (/^.*?\.(?= |$)/.exec(line)?.[0] ?? line).replace(/:$/, ".");
}

/** A heading's anchor, as GitHub makes it: the documents are read there too. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .trim()
    .replace(/[^\p{Letter}\p{Number}\p{Mark}\p{Connector_Punctuation}\- ]/gu, "")
    .replaceAll(" ", "-");
}

/**
 * The README's beginning, up to its first section: how to install, the first program, what it is good for. Its links to
 * later sections lead to the README.
 */
export function introduction(readme: string): string {
  const [beginning = ""] = readme.split(/^## /m);
  for (const language of ["sh", "ts"]) {
    if (!beginning.includes(`\n\`\`\`${language}\n`)) {
      throw new Error(
        `README.md shows no \`${language}\` before its first section: the site's first page needs it`,
      );
    }
  }
  return beginning
    .replace(/^# .*\n+/, "")
    .replaceAll("](#", "](README.md#")
    .trim();
}
