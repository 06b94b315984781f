/** What VitePress does not do for the built site: text for language models, and a look at every link. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { BUILT_SITE, STAGED_PAGES, filesBelow } from "./files.ts";
import { deadLinks } from "./links.ts";
import { llmsFull, llmsIndex, type TextSection } from "./llms.ts";
import { siteAddress } from "./manifest.ts";
import type { Stage } from "./stage.ts";

/**
 * Adds the pages as Markdown and the lists of them to the built site, and checks its links.
 *
 * @throws Error where a link leads nowhere
 */
export function finishSite(root: string, { manifest, base, sections, tasks }: Stage): void {
  const staged = path.join(root, STAGED_PAGES);
  const built = path.join(root, BUILT_SITE);
  const markdown = filesBelow(staged, ".").filter((file) => file.endsWith(".md"));
  for (const file of markdown) cpSync(path.join(staged, file), path.join(built, file));

  const textOf = (page: string): string => readFileSync(path.join(staged, page), "utf8");
  const referencePages = [
    { path: "api/index.md", title: "The API by task" },
    ...tasks
      .flatMap(({ entries }) => entries)
      .filter(({ name }) => !name.includes("."))
      .map(({ name, place }) => ({ path: `api/${place}`, title: name })),
  ];
  const lists: readonly TextSection[] = [...sections, { title: "API", pages: referencePages }].map(
    ({ title, pages }) => ({ title, pages: pages.map((page) => ({ ...page, markdown: textOf(page.path) })) }),
  );
  const { name, description } = manifest;
  writeFileSync(path.join(built, "llms.txt"), llmsIndex(name, description, lists, siteAddress(manifest)));
  writeFileSync(path.join(built, "llms-full.txt"), llmsFull(lists));

  const files = new Map(
    filesBelow(built, ".").map((file) => [
      file,
      file.endsWith(".html") ? readFileSync(path.join(built, file), "utf8") : undefined,
    ]),
  );
  const dead = deadLinks(files, base);
  if (dead.length > 0) throw new Error(`These links lead nowhere:\n${dead.join("\n")}`);
}
