// Light, dark, or as the system says.

import { byId } from "./dom.js";

const KEY = "geocsp-theme";
const NAMES = { auto: "Auto", light: "Light", dark: "Dark" };
const dark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

export const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);

/** Wire up the button; `changed` is called whenever the colours change. */
export function startTheme(changed) {
  const order = Object.keys(NAMES);
  const present = () => root.dataset.theme ?? "auto";
  label(present());
  byId("theme").addEventListener("click", () => {
    const next = order[(order.indexOf(present()) + 1) % order.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    remember(next);
    label(next);
    changed();
  });
  dark.addEventListener("change", changed);
}

function label(theme) {
  byId("theme-name").textContent = NAMES[theme];
  byId("theme").setAttribute("aria-label", `${NAMES[theme]} colours`);
}

function remember(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // no storage: the choice lasts as long as the page
  }
}
