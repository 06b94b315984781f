/** Which pages the site has, in which order. A new document gets its place by lying where it lies. */

/** A page of the site that is made from a document. */
export interface Page {
  /** The document's path in the repository. */
  readonly source: string;
  /** The page's path in the site. */
  readonly path: string;
  readonly title: string;
}

export interface Section {
  readonly title: string;
  readonly pages: readonly Page[];
}

/** A part of the sidebar: the documents that it begins with, and whether it takes those that no part names. */
interface Part {
  readonly title: string;
  readonly sources: readonly string[];
  /** A folder, all of whose documents belong here. */
  readonly rest?: string;
}

const parts: readonly Part[] = [
  {
    title: "Guides",
    sources: [
      "docs/guides/first-jit.md",
      "docs/code.md",
      "docs/assemblers.md",
      "docs/guides/linking.md",
      "docs/guides/callbacks.md",
      "docs/guides/workers.md",
      "docs/guides/code-cache.md",
      "docs/guides/debugging.md",
      "docs/guides/profiling.md",
      "docs/guides/heap-map.md",
      "docs/guides/watching.md",
      "docs/guides/recording.md",
      "docs/guides/bundling.md",
      "docs/guides/from-asmjit.md",
      "docs/query-example.md",
    ],
    rest: "docs/guides/",
  },
  {
    title: "Reference",
    sources: [
      "docs/options.md",
      "docs/errors.md",
      "docs/threads.md",
      "docs/guarantees.md",
      "docs/platforms.md",
      "docs/command-line.md",
      "docs/differences.md",
    ],
    rest: "docs/",
  },
  {
    title: "How it works",
    sources: [
      "docs/architecture.md",
      "docs/invariants.md",
      "docs/security.md",
      "docs/performance.md",
      "docs/benchmarks.md",
      "docs/trust.md",
    ],
  },
  {
    title: "Project",
    sources: ["docs/dependencies.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"],
  },
];

/**
 * The sections of the sidebar. Documents that are named come in the order in which they are named, where they exist; all
 * others follow in the part that takes their folder.
 *
 * @param documents the paths of all documents in the repository
 * @param titleOf the title of one
 */
export function sectionsOf(
  documents: readonly string[],
  titleOf: (source: string) => string,
): readonly Section[] {
  const named = new Set(parts.flatMap(({ sources }) => sources));
  const placeOfRest = (source: string): Part | undefined =>
    parts.find(({ rest }) => rest !== undefined && source.startsWith(rest));
  return parts.map((part) => {
    const rest = documents.filter((source) => !named.has(source) && placeOfRest(source) === part);
    const sources = [...part.sources.filter((source) => documents.includes(source)), ...rest.sort()];
    return {
      title: part.title,
      pages: sources.map((source) => ({ source, path: pathOf(source), title: titleOf(source) })),
    };
  });
}

/** `docs/guides/workers.md` is `guides/workers.md`, `SECURITY.md` is `project/security.md`: `docs/security.md` is another page. */
function pathOf(source: string): string {
  return (source.includes("/") ? source.replace(/^docs\//, "") : `project/${source}`).toLowerCase();
}
