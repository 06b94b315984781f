/** The package managers beside npm, and JSR. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { programOf } from "./consumers.ts";
import type { Trial } from "./trials.ts";
import { end, example, fetchTools, packedFile, project, root, run, workspace } from "./workspace.ts";

const files = { "package.json": { name: "stranger", type: "module" }, "main.js": example };

const pnpm: Trial = {
  name: "pnpm: refuses koffi's script, and takes the setting that the documents name",
  run: async () => {
    const program = path.join(await fetchTools("pnpm@12.21.0"), "pnpm/bin/pnpm.mjs");
    const folder = project("pnpm", files);
    const refused = await end(folder, process.execPath, program, "add", packedFile);
    assert.notEqual(refused.status, 0);
    assert.match(refused.stdout + refused.stderr, /Ignored build scripts: koffi/);
    assert.equal(await run(folder, process.execPath, "main.js"), "5\n");
    writeFileSync(path.join(folder, "pnpm-workspace.yaml"), "allowBuilds:\n  koffi: false\n");
    await run(folder, process.execPath, program, "install");
    assert.equal(await run(folder, process.execPath, "main.js"), "5\n");
  },
};

const yarnClassic: Trial = {
  name: "yarn 1",
  run: async () => {
    const program = path.join(await fetchTools("yarn@1.22.22"), "yarn/bin/yarn.js");
    const folder = project("yarn-classic", files);
    await run(folder, process.execPath, program, "add", packedFile, "--non-interactive");
    assert.equal(await run(folder, process.execPath, "main.js"), "5\n");
  },
};

/** yarn 4, with `node_modules` and without: PnP finds packages in archives. */
function yarn(linker: "pnp" | "node-modules"): Trial {
  return {
    name: `yarn 4, ${linker}`,
    run: async () => {
      const program = path.join(
        await fetchTools("@yarnpkg/cli-dist@4.18.1"),
        "@yarnpkg/cli-dist/bin/yarn.js",
      );
      const folder = project(`yarn-${linker}`, {
        ...files,
        "yarn.lock": "",
        ".yarnrc.yml": `nodeLinker: ${linker}\n`,
      });
      await run(folder, process.execPath, program, "add", `jit-allocator@file:${packedFile}`);
      assert.equal(await run(folder, process.execPath, program, "node", "main.js"), "5\n");
    },
  };
}

const jsr: Trial = {
  name: "JSR, by a dry run of Deno",
  run: async () => {
    const folder = path.join(workspace, "jsr");
    await run(root, process.execPath, "scripts/jsr.js", folder);
    await run(folder, programOf("deno "), "publish", "--dry-run", "--allow-dirty");
    writeFileSync(path.join(folder, "main.js"), example.replace(`"jit-allocator"`, `"./index.js"`));
    assert.equal(
      await run(folder, programOf("deno "), "run", "--no-prompt", "--allow-ffi", "main.js"),
      "5\n",
    );
  },
};

export const managers: readonly Trial[] = [pnpm, yarnClassic, yarn("pnp"), yarn("node-modules"), jsr];
