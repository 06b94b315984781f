/** What consoles show of objects. Node, Bun and Deno call a method of this name for it. */
export const inspectCustom: unique symbol = Symbol.for("nodejs.util.inspect.custom");

/** `4,096 bytes`: for people. */
export function formatBytes(bytes: number): string {
  return `${formatCount(bytes)} ${bytes === 1 ? "byte" : "bytes"}`;
}

/** `12,345`, whatever the language of the system is. */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(?:\d{3})+$)/g, ",");
}
