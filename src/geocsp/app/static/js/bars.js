// Rankings as bars.

import { h } from "./dom.js";
import { percent } from "./format.js";

/**
 * A ranking as a list of bars.
 *
 * `rows` are {name, probability}; bars are drawn against `top`, the longest bar's probability;
 * `pick`, where given, makes each name a button; `note` gives a few words for a name, or null.
 */
export function bars(rows, { top = scale(rows), pick = null, note = () => null, label = null } = {}) {
  return h(
    "ol",
    { class: "bars", "aria-label": label },
    rows.map(({ name, probability }) => {
      const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span"));
      bar.firstChild.style.width = `${(100 * probability) / top}%`;
      const said = pick
        ? h("button", { type: "button", class: "name", title: `Map of ${name}`, on: { click: () => pick(name) } }, name)
        : h("span", { class: "name" }, name);
      return h("li", {}, said, note(name), h("span", { class: "value" }, percent(probability)), bar);
    }),
  );
}

/** Probability that fills the width, one for all the lists that stand side by side. */
export const scale = (...lists) => Math.max(1e-9, ...lists.flat().map((row) => row.probability));
