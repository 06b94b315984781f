/** Bundles and executables: where they are made, moved to an empty folder, and with what they need beside them. */
import assert from "node:assert/strict";
import { copyFileSync, cpSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { programOf } from "./consumers.ts";
import type { Trial } from "./trials.ts";
import {
  binaryFolder,
  copyModules,
  end,
  example,
  fetchTools,
  installedProject,
  run,
  workspace,
} from "./workspace.ts";

/** Makes a bundle of `main.js` in `folder`, in `out/`. @returns its name there */
type Build = (folder: string, tools: string) => Promise<string>;

const node = process.execPath;

/** Runs a program of a tool. */
const withTool =
  (program: string, output: string, ...args: readonly string[]): Build =>
  async (folder, tools) => {
    await run(folder, node, path.join(tools, program), ...args);
    return output;
  };

/** Runs a script that uses a tool: `tool("rollup")` in it stands for the tool's address. */
const withScript =
  (file: string, text: string, then: Build): Build =>
  async (folder, tools) => {
    const address = (name: string): string => JSON.stringify(pathToFileURL(path.join(tools, name)).href);
    writeFileSync(
      path.join(folder, file),
      text.replaceAll(/tool\("([^"]+)"\)/g, (_, name: string) => address(name)),
    );
    return await then(folder, tools);
  };

const esbuild = (format: "esm" | "cjs", output: string): Build =>
  withTool(
    "esbuild/bin/esbuild",
    output,
    ...["main.js", "--bundle", "--platform=node", `--format=${format}`, `--outfile=out/${output}`],
  );

const rolldown = (format: "esm" | "cjs", output: string): Build =>
  withTool(
    "rolldown/bin/cli.mjs",
    output,
    ...["main.js", "--platform", "node", "--format", format, "--file", `out/${output}`],
  );

const rollup = (format: "es" | "cjs", output: string): Build =>
  withScript(
    "rollup.config.mjs",
    `import resolve from tool("@rollup/plugin-node-resolve/dist/es/index.js");
    const output = { format: "${format}", file: "out/${output}" };
    export default { input: "main.js", output, plugins: [resolve()], onwarn(warning) { throw new Error(warning.message); } };`,
    withTool("rollup/dist/bin/rollup", output, "--config", "rollup.config.mjs", "--silent"),
  );

const webpack = (isModule: boolean, output: string): Build =>
  withScript(
    "webpack.mjs",
    `import webpack from tool("webpack/lib/index.js");
    import path from "node:path";
    const isModule = ${isModule};
    webpack(
      {
        mode: "production",
        target: "node20",
        entry: "./main.js",
        experiments: { outputModule: isModule },
        output: {
          path: path.resolve("out"),
          filename: "${output}",
          module: isModule,
          ...(isModule ? { library: { type: "module" } } : {}),
        },
      },
      (error, stats) => {
        const said = stats?.toString({ all: false, errors: true, warnings: true });
        if (error || said) throw error ?? new Error(said);
      },
    );`,
    async (folder) => {
      await run(folder, node, "webpack.mjs");
      return output;
    },
  );

const vite: Build = withScript(
  "vite.config.mjs",
  `export default { build: { ssr: "main.js", outDir: "out" }, ssr: { noExternal: true }, logLevel: "warn" };`,
  withTool("vite/bin/vite.js", "main.js", "build"),
);

const ncc: Build = withTool("@vercel/ncc/dist/ncc/cli.js", "index.js", "build", "main.js", "-o", "out", "-q");

/** A Node that has the program in itself. */
const executable: Build = async (folder, tools) => {
  await run(
    folder,
    node,
    path.join(tools, "esbuild/bin/esbuild"),
    ...["main.js", "--bundle", "--platform=node", "--format=cjs", "--outfile=bundle.cjs"],
  );
  writeFileSync(
    path.join(folder, "sea.json"),
    JSON.stringify({ main: "bundle.cjs", output: "sea.blob", disableExperimentalSEAWarning: true }),
  );
  await run(folder, node, "--experimental-sea-config", "sea.json");
  mkdirSync(path.join(folder, "out"));
  copyFileSync(node, path.join(folder, "out/program"));
  await run(
    folder,
    node,
    path.join(tools, "postject/dist/cli.js"),
    ...["out/program", "NODE_SEA_BLOB", "sea.blob"],
    ...["--sentinel-fuse", "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2"],
  );
  return "program";
};

const ESBUILD = "esbuild@0.28.2";
const ROLLUP = ["rollup@4.68.8", "@rollup/plugin-node-resolve@16"];

const bundlers: Readonly<Record<string, readonly [build: Build, ...tools: string[]]>> = {
  "esbuild, ESM": [esbuild("esm", "bundle.mjs"), ESBUILD],
  "esbuild, CommonJS": [esbuild("cjs", "bundle.cjs"), ESBUILD],
  "webpack, CommonJS": [webpack(false, "bundle.cjs"), "webpack@5.113.0"],
  "webpack, ESM": [webpack(true, "bundle.mjs"), "webpack@5.113.0"],
  "rollup, ESM": [rollup("es", "bundle.mjs"), ...ROLLUP],
  "rollup, CommonJS": [rollup("cjs", "bundle.cjs"), ...ROLLUP],
  "rolldown, ESM": [rolldown("esm", "bundle.mjs"), "rolldown@1.3.2"],
  "rolldown, CommonJS": [rolldown("cjs", "bundle.cjs"), "rolldown@1.3.2"],
  "vite, for a server": [vite, "vite@8.3.8"],
  ncc: [ncc, "@vercel/ncc@0.45.0"],
  "a Node executable of its own": [executable, ESBUILD, "postject@1.0.0-alpha.6"],
};

function bundlerTrial(name: string, build: Build, tools: readonly string[]): Trial {
  return {
    name: `${name}: in place, moved, and with koffi's two folders beside it`,
    run: async () => {
      const fetched = await fetchTools(...tools);
      const id = name.toLowerCase().replaceAll(/\W+/g, "-");
      const folder = installedProject(id, { "main.js": example });
      const output = await build(folder, fetched);
      const start = async (place: string): ReturnType<typeof end> =>
        output === "program"
          ? await end(place, path.join(place, output))
          : await end(place, node, path.join(place, output));
      const expectWorking = async (place: string): Promise<void> => {
        const { status, stdout, stderr } = await start(place);
        assert.deepEqual({ status, stdout }, { status: 0, stdout: "5\n" }, stderr);
      };
      await expectWorking(path.join(folder, "out"));

      // On another machine there is not even the folder that it was made in.
      const moved = path.join(workspace, `${id}-moved`);
      cpSync(path.join(folder, "out"), moved, { recursive: true });
      if (output.endsWith(".js")) writeFileSync(path.join(moved, "package.json"), `{ "type": "module" }`);
      renameSync(folder, `${folder}-gone`);
      const { status, stderr } = await start(moved);
      assert.notEqual(status, 0);
      const folders = `node_modules/koffi and node_modules/${binaryFolder}`;
      assert.ok(stderr.includes(folders), `the error does not name ${folders}:\n${stderr}`);
      copyModules(moved, "koffi");
      await assert.rejects(expectWorking(moved));
      copyModules(moved, binaryFolder);
      await expectWorking(moved);
    },
  };
}

const bunExecutable: Trial = {
  name: "bun build --compile: moved, with nothing beside it",
  run: async () => {
    const folder = installedProject("bun-compile", { "main.js": example });
    const moved = path.join(workspace, "bun-compile-moved");
    mkdirSync(moved);
    const program = path.join(moved, "program");
    await run(folder, programOf("bun "), "build", "--compile", "main.js", "--outfile", program);
    renameSync(folder, `${folder}-gone`);
    assert.equal(await run(moved, program), "5\n");
  },
};

export const bundles: readonly Trial[] = [
  ...Object.entries(bundlers).map(([name, [build, ...tools]]) => bundlerTrial(name, build, tools)),
  bunExecutable,
];
