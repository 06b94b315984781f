/** Finds and makes elements of the page. */

/** The element of the page with an id. */
export function byId<E extends HTMLElement>(id: string, kind: abstract new () => E): E {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`The page has no ${id}`);
  return element;
}

/** Makes an element; strings become text, never HTML. */
export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>> = {},
  ...content: readonly (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...content);
  return element;
}

/** Terms and what they are, for a `dl`. */
export function terms(rows: readonly (readonly [term: string, value: Node | string])[]): Node[] {
  return rows.flatMap(([term, value]) => [make("dt", {}, term), make("dd", {}, value)]);
}

export function formatCount(count: number): string {
  return count.toLocaleString("en-US");
}

/** `0x7f12_0040_1010`, as the library's own messages write it. */
export function formatAddress(address: number): string {
  const digits = address.toString(16);
  const padded = digits.padStart(Math.ceil(digits.length / 4) * 4, "0");
  return `0x${padded.replace(/(?<=.)(?=(?:.{4})+$)/g, "_")}`;
}

/** A coloured square and a label, for legends. */
export function legendItem(
  label: string,
  [red, green, blue]: readonly [number, number, number],
): HTMLElement {
  const square = make("i", { "aria-hidden": "true" });
  square.style.background = `rgb(${red} ${green} ${blue})`;
  return make("li", {}, square, label);
}
