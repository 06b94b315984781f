/**
 * Makes the page of the heap map of the folder `viewer/`: `node scripts/viewer.js`, after tsc. Script, style and markup
 * become a module of text, `dist/src/view/page-template.js`, to which `src/view/page.ts` adds the data.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { rolldown } from "rolldown";

const root = path.resolve(import.meta.dirname, "..");
const target = path.join(root, "dist/src/view/page-template.js");
const read = (/** @type {string} */ file) => readFileSync(path.join(root, file), "utf8");
if (!existsSync(path.dirname(target))) throw new Error("dist/ is missing: run `npm run build` first");

const bundle = await rolldown({
  input: path.join(root, "viewer/main.ts"),
  platform: "browser",
  tsconfig: path.join(root, "viewer/tsconfig.json"),
  onLog(level, log) {
    throw new Error(`rolldown, ${level}: ${log.message}`);
  },
});
const { output } = await bundle.generate({ format: "esm", minify: true, codeSplitting: false });
await bundle.close();
const [{ code }] = output;
if (output.length !== 1) throw new Error("the script of the page is more than one file");
// In HTML the first </script ends a script, wherever it stands.
if (/<\/script|<!--/i.test(code)) throw new Error("the script of the page has an end tag in it");

const style = [read("node_modules/uplot/dist/uPlot.min.css"), read("viewer/style.css")]
  .join("\n")
  .replace(/\/\*[\s\S]*?\*\//g, "")
  .replace(/\s*\n\s*/g, "");
const { version } = JSON.parse(read("node_modules/uplot/package.json"));
const licence = `<!-- uPlot ${version}:\n${read("node_modules/uplot/LICENSE").trim()}\n-->\n`;

const [beforeTitle, rest] = halves(read("viewer/index.html"), "{{title}}");
const [beforeData, afterData] = halves(rest, "{{data}}");
const parts = [
  beforeTitle.replace("<html", () => `${licence}<html`),
  filled(beforeData, "<style>", style),
  filled(afterData, '<script type="module">', code),
];
writeFileSync(target, `export const pageTemplate = ${JSON.stringify(parts, null, 1)};\n`);

/** What comes before a mark, and after. @param {string} text @param {string} mark */
function halves(text, mark) {
  const at = text.indexOf(mark);
  if (at < 0) throw new Error(`viewer/index.html has no ${mark}`);
  return [text.slice(0, at), text.slice(at + mark.length)];
}

/** Puts content behind a start tag. @param {string} text @param {string} tag @param {string} content */
function filled(text, tag, content) {
  return halves(text, tag).join(tag + content);
}
