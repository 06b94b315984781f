/** Lays out the site's pages: the documents, the API reference and the first page, in a folder that VitePress reads. */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { API_JSON, API_PAGES, STAGED_PAGES, filesBelow } from "./files.ts";
import { repositoryAddress, siteAddress, type Manifest } from "./manifest.ts";
import { introduction, rewriteLinks, titleOf } from "./markdown.ts";
import { sectionsOf, type Section } from "./pages.ts";
import type { Reflection } from "./reflection.ts";
import { entriesByTask, taskPage, type TaskEntries } from "./tasks.ts";

/** Assets that documents show. */
const ASSET = /\.(svg|png)$/;

/** What VitePress is told of the pages. */
export interface Stage {
  readonly manifest: Manifest;
  readonly repository: string;
  /** The path below which the site is served. */
  readonly base: string;
  readonly sections: readonly Section[];
  readonly tasks: readonly TaskEntries[];
}

/**
 * Writes the pages into `dist/www-pages/`. The API reference must have been made (`npm run docs`).
 *
 * @param root the repository
 * @throws Error for a link of a document that leads nowhere, and for an export without a task
 */
export function stagePages(root: string): Stage {
  const read = (file: string): string => readFileSync(path.join(root, file), "utf8");
  const manifest = JSON.parse(read("package.json")) as Manifest;
  if (!existsSync(path.join(root, API_JSON))) {
    throw new Error(`${API_JSON} is not there: \`npm run docs\` makes it, and \`npm run site\` calls that`);
  }
  const tasks = entriesByTask(JSON.parse(read(API_JSON)) as Reflection);

  const documents = [
    ...["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].filter((file) => existsSync(path.join(root, file))),
    ...filesBelow(root, "docs").filter((file) => file.endsWith(".md")),
  ];
  const sections = sectionsOf(documents, (source) => titleOf(source, read(source)));
  const pages = sections.flatMap((section) => section.pages);

  const repository = repositoryAddress(manifest);
  const pageOf = new Map(pages.map((page) => [page.source, page.path]));
  pageOf.set("README.md", "index.md");
  const resolve = (target: string, anchor: string | undefined): string | undefined => {
    // Of the README the site has the beginning, which has no sections.
    const isSectionOfReadme = target === "README.md" && anchor !== undefined;
    const page = isSectionOfReadme ? undefined : (pageOf.get(target) ?? assetPath(target));
    const file = path.join(root, target);
    if (!existsSync(file)) return undefined;
    return page ?? `${repository}/${statSync(file).isDirectory() ? "tree" : "blob"}/HEAD/${target}`;
  };

  const staged = path.join(root, STAGED_PAGES);
  const write = (page: string, text: string): void => {
    const file = path.join(staged, page);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  };
  rmSync(staged, { recursive: true, force: true });
  cpSync(path.join(root, API_PAGES), path.join(staged, "api"), { recursive: true });
  write("api/index.md", taskPage(tasks));
  for (const { source, path: page } of pages) write(page, rewriteLinks(read(source), source, page, resolve));
  for (const asset of filesBelow(root, "docs").filter((file) => ASSET.test(file))) {
    mkdirSync(path.dirname(path.join(staged, assetPath(asset) ?? asset)), { recursive: true });
    cpSync(path.join(root, asset), path.join(staged, assetPath(asset) ?? asset));
  }
  cpSync(path.join(root, "site/public"), path.join(staged, "public"), { recursive: true });
  const introduced = introduction(read("README.md"));
  write("index.md", firstPage(manifest, rewriteLinks(introduced, "README.md", "index.md", resolve)));

  const address = siteAddress(manifest);
  return {
    manifest,
    repository,
    base: address === undefined ? "/" : new URL(address).pathname,
    sections,
    tasks,
  };
}

/** `docs/charts/soak.svg` is `charts/soak.svg`. */
function assetPath(file: string): string | undefined {
  return ASSET.test(file) ? file.replace(/^docs\//, "") : undefined;
}

/** The first page: the README's beginning under the name and the buttons. */
function firstPage({ name, description }: Manifest, introduced: string): string {
  const settings = {
    layout: "home",
    hero: {
      name,
      tagline: description,
      actions: [
        { theme: "brand", text: "First JIT", link: "/guides/first-jit.html" },
        { theme: "alt", text: "A program that pays", link: "/query-example.html" },
        { theme: "alt", text: "API by task", link: "/api/" },
      ],
    },
  };
  // JSON is YAML too.
  return `---\n${JSON.stringify(settings)}\n---\n\n${introduced}\n`;
}
