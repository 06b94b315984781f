/** The page of the heap map: one file of HTML, with all that it needs. */
import { gzipSync } from "node:zlib";
import { encodePage } from "./codec.ts";
import type { PageData } from "./contract.ts";
import { pageTemplate } from "./page-template.js";

/** Page data as text: gzip, in base64. */
export function packPage(data: PageData): string {
  return gzipSync(encodePage(data)).toString("base64");
}

/**
 * The whole page.
 * @param events the address at which it hears of new snapshots; empty: nowhere
 */
export function renderPage(data: PageData, events = ""): string {
  const [beforeTitle, beforeData, afterData] = pageTemplate;
  const title = escaped(data.header.title);
  const opening = `<script type="text/plain" id="heap-map" data-events="${escaped(events)}">`;
  return `${beforeTitle}${title}${beforeData}${opening}${packPage(data)}</script>${afterData}`;
}

function escaped(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
  };
  return text.replace(/[&<>"]/g, (letter) => entities[letter] ?? letter);
}
