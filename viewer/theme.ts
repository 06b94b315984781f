/** Light or dark: as the system says, until somebody chooses. */
import type { Theme } from "./colours.ts";
import { byId } from "./elements.ts";

const KEY = "jit-allocator-heap-map-theme";

/** The theme, and its button. */
export class ThemeSwitch {
  readonly #isSystemDark = matchMedia("(prefers-color-scheme: dark)");
  readonly #onChange: () => void;
  readonly #button = byId("theme", HTMLButtonElement);
  #chosen: Theme | undefined;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
    const kept = read();
    this.#chosen = kept === "light" || kept === "dark" ? kept : undefined;
    this.#isSystemDark.addEventListener("change", () => this.#apply());
    this.#button.addEventListener("click", () => {
      this.#chosen = this.theme === "dark" ? "light" : "dark";
      keep(this.#chosen);
      this.#apply();
    });
    this.#show();
  }

  get theme(): Theme {
    return this.#chosen ?? (this.#isSystemDark.matches ? "dark" : "light");
  }

  #apply(): void {
    this.#show();
    this.#onChange();
  }

  #show(): void {
    if (this.#chosen !== undefined) document.documentElement.dataset["theme"] = this.#chosen;
    this.#button.textContent = this.theme === "dark" ? "Light" : "Dark";
    this.#button.setAttribute("aria-label", `Show in ${this.theme === "dark" ? "light" : "dark"} colours`);
  }
}

/** Pages that are opened as files may not be allowed to keep anything. */
function read(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function keep(theme: Theme): void {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // It is asked for anew next time.
  }
}
