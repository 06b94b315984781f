/**
 * Refuses to publish what is not ready: `node scripts/ready-to-publish.js [TAG]`. A person must have put names in place of
 * the placeholders (CONTRIBUTING.md says where), and every place must name the same version.
 */
import { readFileSync } from "node:fs";
import path from "node:path";

const root = path.resolve(process.env["PACKAGE_ROOT"] ?? path.join(import.meta.dirname, ".."));
const read = (/** @type {string} */ file) => readFileSync(path.join(root, file), "utf8");
const { version } = JSON.parse(read("package.json"));
const jsr = JSON.parse(read("jsr.json"));
const tag = process.argv[2];

const faults = [
  ...["package.json", "jsr.json"]
    .filter((file) => /\bowner\b/i.test(read(file)))
    .map((file) => `${file} still has the placeholder OWNER`),
  ...(jsr.version === version
    ? []
    : [`jsr.json has the version ${jsr.version}, and package.json ${version}`]),
  ...(read("CHANGELOG.md").includes(`\n## [${version}]`) ? [] : [`CHANGELOG.md has no part [${version}]`]),
  ...(tag === undefined || tag === `v${version}` ? [] : [`the tag is ${tag}, and the version ${version}`]),
];
for (const fault of faults) console.error(fault);
if (faults.length > 0) process.exitCode = 1;
