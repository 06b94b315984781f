/** The part of typedoc's JSON that the site reads. */

interface CommentPart {
  readonly text: string;
}

interface Comment {
  readonly summary: readonly CommentPart[];
}

export interface Reflection {
  readonly name: string;
  readonly kind: number;
  readonly comment?: Comment;
  readonly children?: readonly Reflection[];
  readonly signatures?: readonly Reflection[];
  readonly getSignature?: Reflection;
}

/** Typedoc's numbers for what a module exports, and for its members. */
const kinds = {
  namespace: 4,
  function: 64,
  class: 128,
  interface: 256,
  constructor: 512,
  typeAlias: 2_097_152,
} as const;

/** The folder of `dist/api/` in which typedoc's Markdown has the page of an export. */
const folders: Readonly<Record<number, string>> = {
  [kinds.function]: "functions",
  [kinds.class]: "classes",
  [kinds.interface]: "interfaces",
  [kinds.typeAlias]: "type-aliases",
};

/** The page of an export, below `api/`. */
export function referencePage({ name, kind }: Reflection): string {
  if (kind === kinds.namespace) return `jit-allocator/namespaces/${name}/index.md`;
  const folder = folders[kind];
  if (folder === undefined) throw new Error(`The site knows no page for ${name}, an export of kind ${kind}`);
  return `${folder}/${name}.md`;
}

/** The members of a class or a namespace that a program calls or reads, but for the well-known symbols. */
export function membersOf({ kind, children = [] }: Reflection): readonly Reflection[] {
  // A namespace also names the types of its functions again.
  if (kind === kinds.namespace) return children.filter((child) => child.kind === kinds.function);
  if (kind !== kinds.class) return [];
  return children.filter((child) => child.kind !== kinds.constructor && !child.name.startsWith("["));
}

/** Where a member of an export is explained: on a page of its own in a namespace, else under a heading. */
export function memberPlace(parent: Reflection, member: Reflection, anchor: string): string {
  const page = referencePage(parent);
  if (parent.kind === kinds.namespace) return page.replace(/index\.md$/, `functions/${member.name}.md`);
  return `${page}#${anchor}`;
}

/** The summary of the docstring, of the first overload that has one. */
export function summaryOf({ comment, getSignature, signatures = [] }: Reflection): string {
  const [found] = [
    comment,
    getSignature?.comment,
    ...signatures.map((signature) => signature.comment),
  ].filter((candidate) => candidate !== undefined);
  return (found?.summary ?? []).map(({ text }) => text).join("");
}
