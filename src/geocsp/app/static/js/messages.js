// What is said: to everybody in the error line, to screen readers in the live region.

import { byId, h, show } from "./dom.js";

/** Say something to a screen reader, politely. */
export function announce(text) {
  byId("live").textContent = text;
}

/** One calm line above the panel's content, until it is closed or the next thing works. */
export function complain(error) {
  const text = error.message;
  const line = byId("alert");
  if (line.firstChild?.textContent === text) return;
  show(
    line,
    h("span", {}, text),
    h("button", { type: "button", class: "quiet", "aria-label": "Close this message", on: { click: settle } }, "×"),
  );
}

/** Take the error line away. */
export function settle() {
  show(byId("alert"));
}
