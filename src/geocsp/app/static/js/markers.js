// Marks on the map.

import { h, s } from "./dom.js";
import { placeName } from "./format.js";

/** The pin of the chosen place. */
export function placeMarker(lonlat) {
  return h(
    "div",
    { class: "pin", role: "img", "aria-label": `Chosen place: ${placeName(lonlat)}` },
    s(
      "svg",
      { viewBox: "0 0 28 28", width: 28, height: 28, "aria-hidden": "true" },
      s("circle", { cx: 14, cy: 14, r: 9, class: "pin-ring" }),
      s("circle", { cx: 14, cy: 14, r: 3.2, class: "pin-dot" }),
    ),
  );
}

/** A numbered mark that can be clicked; the list in the panel does the same for the keyboard. */
export function marker(number, text, pressed) {
  const press = (event) => {
    event.stopPropagation();
    pressed();
  };
  return h("div", { class: "mark", role: "img", "aria-label": text, title: text, on: { click: press } }, String(number));
}
