/** A browser for tests, and what its pages complain of. */
import { chromium, type Browser, type Page } from "playwright-core";
import { CHROMIUM } from "./requirements.ts";

/** Starts the browser, without its sandbox, which root cannot have. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
}

/** A page, and all that went wrong in it. */
export interface WatchedPage {
  readonly page: Page;
  readonly complaints: readonly string[];
}

/** How a page is looked at. */
export interface Look {
  readonly width?: number;
  readonly height?: number;
  readonly colorScheme?: "light" | "dark";
}

/** Opens a page of the heap map, and waits until it shows something. */
export async function openHeapMap(browser: Browser, address: string, look: Look = {}): Promise<WatchedPage> {
  const { width = 1440, height = 1000, colorScheme = "light" } = look;
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  const complaints: string[] = [];
  page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(address);
  await page.waitForSelector("html[data-ready]");
  return { page, complaints };
}
