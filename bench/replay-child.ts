/** `node dist/bench/replay-child.js TRACE …`: the replay command alone, in a process that has loaded nothing else. */
import { replay } from "../src/cli/replay.ts";

process.exitCode = await replay.run(process.argv.slice(2), {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  readStdin: () => new Uint8Array(0),
  color: false,
});
