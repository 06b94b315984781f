/** The declarations of the public API, gathered by API Extractor: as one file for users, and as a report for reviewers. */
import path from "node:path";
import { Extractor, ExtractorConfig } from "@microsoft/api-extractor";

const root = path.resolve(import.meta.dirname, "..");

/**
 * @param {object} request
 * @param {string} request.entry The compiled declarations of `src/index.ts`.
 * @param {string} [request.rollup] The file that gets all declarations with their docstrings.
 * @param {{ folder: string, name: string }} [request.report] The folder that gets the report, as `NAME.api.md`.
 * @throws Error where the declarations are faulty.
 */
export function gatherTypes({ entry, rollup, report }) {
  const config = ExtractorConfig.prepare({
    configObject: {
      projectFolder: root,
      mainEntryPointFilePath: entry,
      newlineKind: "lf",
      compiler: {
        overrideTsconfig: {
          compilerOptions: {
            target: "es2022",
            lib: ["ES2024", "ESNext.Disposable"],
            module: "nodenext",
            moduleResolution: "nodenext",
            types: [],
            strict: true,
          },
          files: [entry],
        },
      },
      apiReport: {
        enabled: report !== undefined,
        reportFileName: report?.name ?? "unused",
        reportFolder: report?.folder ?? root,
        reportTempFolder: report?.folder ?? root,
        includeForgottenExports: true,
      },
      dtsRollup: { enabled: rollup !== undefined, untrimmedFilePath: rollup ?? "" },
      docModel: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        compilerMessageReporting: { default: { logLevel: "error" } },
        extractorMessageReporting: { default: { logLevel: "none" } },
        tsdocMessageReporting: { default: { logLevel: "none" } },
      },
    },
    configObjectFullPath: undefined,
    packageJsonFullPath: path.join(root, "package.json"),
  });
  /** @type {string[]} */
  const faults = [];
  const { succeeded } = Extractor.invoke(config, {
    localBuild: true,
    messageCallback: (message) => {
      if (message.logLevel === "error") faults.push(message.formatMessageWithLocation(root));
      message.handled = true;
    },
  });
  if (!succeeded || faults.length > 0)
    throw new Error(`API Extractor refuses ${entry}:\n${faults.join("\n")}`);
}
