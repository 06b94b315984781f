/** `app.trace.gz` with the number 2: `app-2.trace.gz`; with the number 1 the name itself. */
export function numberedName(path: string, number: number): string {
  if (number === 1) return path;
  const [, stem = path, ending = ""] = /^(.*?[^/\\])((?:\.[^./\\]+)?(?:\.gz)?)$/s.exec(path) ?? [];
  return `${stem}-${number}${ending}`;
}
