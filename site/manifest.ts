/** What package.json says of where the project lives. */

export interface Manifest {
  readonly name: string;
  readonly description: string;
  readonly version: string;
  readonly homepage?: string;
  readonly repository?: string | { readonly url: string };
}

/** Stands for the repository as long as package.json names none. */
const UNKNOWN_REPOSITORY = "https://github.com/OWNER/jit-allocator";

/** The address of the repository's first page, without a slash at the end. */
export function repositoryAddress({ repository }: Manifest): string {
  const url = typeof repository === "string" ? repository : (repository?.url ?? UNKNOWN_REPOSITORY);
  return url
    .replace(/^git\+/, "")
    .replace(/^github:/, "https://github.com/")
    .replace(/\.git$/, "");
}

/** The address of the site, with a slash at the end, where the home page is one: not the repository itself. */
export function siteAddress(manifest: Manifest): string | undefined {
  const { homepage } = manifest;
  if (homepage === undefined || homepage.startsWith(repositoryAddress(manifest))) return undefined;
  return homepage.replace(/[#?].*$/, "").replace(/\/*$/, "/");
}
