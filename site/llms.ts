/** The site for language models: a list of its pages as Markdown, and all of them in one file. */
import { firstSentence } from "./markdown.ts";

export interface TextPage {
  /** The page's path in the site, as Markdown. */
  readonly path: string;
  readonly title: string;
  readonly markdown: string;
}

export interface TextSection {
  readonly title: string;
  readonly pages: readonly TextPage[];
}

/**
 * `llms.txt` (llmstxt.org): what the project is, and a line for each page.
 *
 * @param address where the site is; without it the links are relative
 */
export function llmsIndex(
  name: string,
  description: string,
  sections: readonly TextSection[],
  address = "./",
): string {
  const lists = sections.map(({ title, pages }) => {
    const lines = pages.map(
      ({ path, title: page, markdown }) => `- [${page}](${address}${path}): ${firstSentence(markdown)}`,
    );
    return `## ${title}\n\n${lines.join("\n")}\n`;
  });
  return `# ${name}\n\n> ${description}\n\n${lists.join("\n")}`;
}

/** `llms-full.txt`: every page in the order of the sidebar, each under its path. */
export function llmsFull(sections: readonly TextSection[]): string {
  return sections
    .flatMap(({ pages }) => pages)
    .map(({ path, markdown }) => `<!-- ${path} -->\n\n${markdown.trim()}\n`)
    .join("\n");
}
