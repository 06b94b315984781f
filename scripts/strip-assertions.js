/** Takes the assertions out of the compiled library: `node scripts/strip-assertions.js [FOLDER]`, after tsc. */
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { withoutAssertions } from "./assertions.js";

const library = process.argv[2] ?? path.join(import.meta.dirname, "../dist/src");
let total = 0;

for (const file of readdirSync(library, { recursive: true, encoding: "utf8" })) {
  if (!file.endsWith(".js")) continue;
  const whole = path.join(library, file);
  const { text, count } = withoutAssertions(readFileSync(whole, "utf8"));
  if (count > 0) writeFileSync(whole, text);
  total += count;
}
console.log(`took ${total} assertions out of ${library}`);
// No assertion was found: there is none, or this script missed it. Either way somebody should look.
if (total === 0) process.exitCode = 1;
