// The model in facts, and its card.

import { byId, h, show } from "./dom.js";
import { markdown } from "./markdown.js";

const KEYS = [
  ["Click or Enter on the map", "asks at that place"],
  ["Arrow keys, + and −", "move and zoom the map"],
  ["Arrow keys on the tabs", "go from tab to tab"],
  ["Esc", "closes lists and stops placing a photo"],
];

export function startAbout(info) {
  const facts = [
    ["Model", info.name],
    ["Kind", info.kind],
    ["Classes", info.classes.length ? info.classes.length.toLocaleString("en") : "none"],
    ["Reads photos", info.has_images ? "yes" : "no"],
    ["Uses the time of the year", info.takes_time ? "yes" : "no"],
    ["Fingerprint", info.fingerprint],
    ["geocsp", info.version],
  ];
  show(
    byId("about"),
    h("h2", {}, "This model"),
    h("dl", {}, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    info.card ? h("article", { class: "model-card", "aria-label": "Model card" }, markdown(info.card)) : h("p", { class: "empty" }, "The model has no card; save_pretrained writes one."),
    h("h2", {}, "Keys"),
    h("dl", {}, KEYS.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("p", { class: "soft small" }, "Coast lines: Natural Earth, public domain. Map: MapLibre GL JS, BSD licence. Nothing on this page leaves the server it came from."),
  );
}
