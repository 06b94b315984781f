/**
 * The rule for the report of the public API: it changes together with the changelog. The report's last line has two sums:
 * of what stood under Unreleased when the report was last made, and of the report and that sum. So no history is needed to
 * tell that a report was made by hand, or that the API changed and the changelog did not.
 */
import { createHash } from "node:crypto";

const SEAL = /\n<!-- changelog (\w+), seal (\w+) -->\n$/;

/** What the changelog says of the next release. */
export function unreleased(/** @type {string} */ changelog) {
  return /^## \[Unreleased\]\n([^]*?)(?=^## \[|$(?![^]))/m.exec(changelog)?.[1]?.trim() ?? "";
}

/** The report with its last line. */
export function sealed(/** @type {string} */ report, /** @type {string} */ changelog) {
  const sum = sumOf(unreleased(changelog));
  return `${report}\n<!-- changelog ${sum}, seal ${sumOf(report + sum)} -->\n`;
}

/** The report of a file without its last line; undefined where that is missing, or somebody else wrote it. */
export function opened(/** @type {string} */ file) {
  const [line, sum = "", seal] = SEAL.exec(file) ?? [];
  if (line === undefined) return undefined;
  const report = file.slice(0, -line.length);
  return sumOf(report + sum) === seal ? report : undefined;
}

/** Whether the changelog is what it was when the report was made. */
export function isChangelogAsItWas(/** @type {string} */ file, /** @type {string} */ changelog) {
  return SEAL.exec(file)?.[1] === sumOf(unreleased(changelog));
}

function sumOf(/** @type {string} */ text) {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
