// What the page shows, kept in the address so that it can be shared and the back button works.

const TABS = ["explore", "photos", "report", "about"];

export const DEFAULTS = Object.freeze({
  tab: "explore",
  layer: "",
  class: "",
  opacity: 85,
  place: null,
  view: null,
});

let now = read(location.hash);
const listeners = new Set();

export const get = () => now;

/** Call with (now, before) at each change. */
export function subscribe(listener) {
  listeners.add(listener);
}

/** Change some values; `quietly` writes over the present address instead of adding one. */
export function set(values, { quietly = false } = {}) {
  const next = { ...now, ...values };
  const address = write(next);
  if (address === write(now)) return;
  change(next);
  const url = `${location.pathname}${location.search}${address}`;
  if (quietly) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
}

function change(next) {
  const before = now;
  now = Object.freeze(next);
  for (const listener of listeners) listener(now, before);
}

// hand-made changes of the address and the back button both end here
addEventListener("popstate", () => change(read(location.hash)));

export function write(state) {
  const out = new URLSearchParams();
  if (state.tab !== DEFAULTS.tab) out.set("tab", state.tab);
  if (state.layer) out.set("layer", state.layer);
  if (state.class) out.set("class", state.class);
  if (state.opacity !== DEFAULTS.opacity) out.set("opacity", state.opacity);
  if (state.place) out.set("place", state.place.map((value) => value.toFixed(4)).join(","));
  if (state.view) out.set("view", state.view.map((value) => value.toFixed(2)).join(","));
  const text = out.toString().replaceAll("%2C", ",");
  return text ? `#${text}` : "";
}

export function read(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const opacity = Number(given.get("opacity") ?? DEFAULTS.opacity);
  return Object.freeze({
    tab: TABS.includes(given.get("tab")) ? given.get("tab") : DEFAULTS.tab,
    layer: given.get("layer") ?? "",
    class: given.get("class") ?? "",
    opacity: opacity >= 0 && opacity <= 100 ? opacity : DEFAULTS.opacity,
    place: numbers(given.get("place"), 2),
    view: numbers(given.get("view"), 3),
  });
}

function numbers(text, count) {
  const values = (text ?? "").split(",").map(Number);
  const fits = text && values.length === count && values.every(Number.isFinite);
  return fits && Math.abs(values[0]) <= 180 && Math.abs(values[1]) <= 90 ? values : null;
}
