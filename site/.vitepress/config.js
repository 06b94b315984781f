import path from "node:path";
import { defineConfig } from "vitepress";
import { BUILT_SITE, STAGED_PAGES } from "../files.ts";
import { finishSite } from "../finish.ts";
import { anchorOf } from "../markdown.ts";
import { stagePages } from "../stage.ts";

const root = path.resolve(import.meta.dirname, "../..");
const stage = stagePages(root);
const { manifest, repository, base, sections, tasks } = stage;

const link = (page) =>
  `/${page.replace(/(index)?\.md$/, (_, index) => (index === undefined ? ".html" : ""))}`;
const guides = sections.map(({ title, pages }) => ({
  text: title,
  items: pages.map(({ title: text, path: page }) => ({ text, link: link(page) })),
}));
const reference = [
  { text: "The API by task", link: "/api/" },
  ...tasks
    .map(({ title, entries }) => ({
      text: title,
      items: entries
        .filter(({ name }) => !name.includes("."))
        .map(({ name, place }) => ({ text: name, link: link(`api/${place}`) })),
    }))
    .filter(({ items }) => items.length > 0),
];

export default defineConfig({
  title: manifest.name,
  description: manifest.description,
  lang: "en",
  base,
  srcDir: path.join(root, STAGED_PAGES),
  outDir: path.join(root, BUILT_SITE),
  cacheDir: path.join(root, "dist/www-cache"),
  head: [["link", { rel: "icon", href: `${base}icon.svg`, type: "image/svg+xml" }]],
  markdown: {
    anchor: { slugify: anchorOf },
    theme: { light: "github-light-default", dark: "github-dark-default" },
  },
  themeConfig: {
    logo: "/icon.svg",
    nav: [
      { text: "Guides", link: "/guides/first-jit.html", activeMatch: "/guides/" },
      { text: "API", link: "/api/", activeMatch: "/api/" },
      { text: "Benchmarks", link: "/benchmarks.html" },
      { text: manifest.version, link: "/project/changelog.html" },
    ],
    sidebar: { "/api/": reference, "/": guides },
    outline: [2, 3],
    search: { provider: "local" },
    socialLinks: [{ icon: "github", link: repository }],
    docFooter: { prev: "Before", next: "Next" },
    footer: {
      message:
        'MIT licensed. The same pages for language models: <a href="' + base + 'llms.txt">llms.txt</a>.',
    },
  },
  buildEnd: () => finishSite(root, stage),
});
