/** `node dist/bench/empty-child.js`: how long a Node process takes to get to the first line of a module. */
process.stdout.write(`${JSON.stringify({ "start of an empty process": performance.now() })}\n`);
