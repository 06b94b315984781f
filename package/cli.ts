#!/usr/bin/env node
/** What `bin` of package.json names. A release puts the bundle of it in place of what the compiler makes of it. */
import "../src/cli/main.ts";
