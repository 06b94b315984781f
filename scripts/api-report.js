/**
 * Compares the public API with its report, `etc/jit-allocator.api.md`: `node scripts/api-report.js`, as part of
 * `npm run check`. With `--write` it makes the report anew, if the changelog has changed as well.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import { isChangelogAsItWas, opened, sealed } from "./api-seal.js";
import { gatherTypes } from "./public-types.js";

const root = path.resolve(import.meta.dirname, "..");
const file = path.join(root, "etc/jit-allocator.api.md");
const changelog = readFileSync(path.join(root, "CHANGELOG.md"), "utf8");

const now = currentReport();
const kept = existsSync(file) ? readFileSync(file, "utf8") : "";
const before = opened(kept);

if (now === before) {
  console.log("the public API is as its report says");
} else if (!process.argv.includes("--write")) {
  console.error(
    `The public API is not what etc/jit-allocator.api.md says. If that is meant, say it in CHANGELOG.md, under\n` +
      `Unreleased, and run \`npm run api\`.\n\n${difference(kept, now)}`,
  );
  process.exitCode = 1;
} else if (isChangelogAsItWas(kept, changelog)) {
  console.error(
    `The public API has changed, and what CHANGELOG.md says under Unreleased has not. Users want to know:\n\n` +
      difference(kept, now),
  );
  process.exitCode = 1;
} else {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, sealed(now, changelog));
  console.log(`etc/jit-allocator.api.md:\n${difference(kept, now)}`);
}

/** The report of what `src/` declares now. */
function currentReport() {
  const folder = path.join(root, "dist/api-types");
  const settings = ts.readConfigFile(path.join(root, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(settings.config, ts.sys, root);
  const program = ts.createProgram([path.join(root, "src/index.ts")], {
    ...options,
    outDir: folder,
    emitDeclarationOnly: true,
    sourceMap: false,
    // The compiler checks in the build.
    noCheck: true,
  });
  try {
    program.emit();
    gatherTypes({ entry: path.join(folder, "src/index.d.ts"), report: { folder, name: "report" } });
    return readFileSync(path.join(folder, "report.api.md"), "utf8");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The lines that only one of them has. */
function difference(/** @type {string} */ older, /** @type {string} */ newer) {
  const [old, fresh] = [older, newer].map((text) => text.split("\n"));
  const only = (/** @type {string[]} */ these, /** @type {string[]} */ those, /** @type {string} */ mark) =>
    these
      .filter((line) => !those.includes(line) && !line.startsWith("<!--"))
      .map((line) => `${mark} ${line}`);
  return [...only(old ?? [], fresh ?? [], "-"), ...only(fresh ?? [], old ?? [], "+")].join("\n");
}
