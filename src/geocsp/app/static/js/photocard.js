// The card of one photo: two rankings side by side, and where it may have been taken.

import { bars, scale } from "./bars.js";
import { h, show } from "./dom.js";
import { distance, kilometres, percent, placeName } from "./format.js";
import { locator } from "./locator.js";
import * as state from "./state.js";

const SHOWN = 5;
const PLACED_BY = { exif: "place from EXIF", given: "place given by hand" };
let count = 0;

export class PhotoCard {
  #status = h("p", { class: "soft small" });
  #body = h("div", { class: "photo-body" });
  #tools;
  spoken = "";

  /** `tools` are those of the page of photos, and `again(lonlat)` to ask once more. */
  constructor(file, tools) {
    this.file = file;
    this.#tools = tools;
    const id = `photo-${(count += 1)}`;
    const address = URL.createObjectURL(file);
    const picture = h("img", { src: address, alt: "", width: 64, height: 64, on: { error: () => picture.replaceWith(h("div", { class: "no-picture", "aria-hidden": "true" })) } });
    const remove = () => {
      URL.revokeObjectURL(address);
      this.#hideOverlay();
      this.element.remove();
    };
    this.element = h(
      "li",
      { class: "card", "aria-labelledby": id },
      h("div", { class: "photo-head" }, picture,
        h("div", { class: "photo-title" }, h("h3", { id, title: file.name }, file.name), this.#status),
        h("button", { type: "button", class: "quiet", "aria-label": `Remove ${file.name}`, on: { click: remove } }, "×")),
      this.#body,
    );
  }

  wait() {
    this.element.setAttribute("aria-busy", "true");
    this.#status.textContent = "Reading …";
    this.#status.className = "soft small";
  }

  /** Say why there is no answer; `lonlat` is the place that was given, for another try. */
  fail(text, lonlat) {
    this.element.removeAttribute("aria-busy");
    this.#status.textContent = text;
    this.#status.className = "bad small";
    const retry = h("button", { type: "button", class: "link", on: { click: () => this.#tools.again(lonlat) } }, "Try again");
    show(this.#body, h("p", {}, retry));
  }

  answer({ lon, lat, placed_by: placedBy, image, fused, where, notes }) {
    this.element.removeAttribute("aria-busy");
    this.#hideOverlay();
    const place = placedBy ? [lon, lat] : null;
    this.#status.textContent = place ? `${placeName(place)} · ${PLACED_BY[placedBy]}` : "No place known";
    show(
      this.#body,
      h("div", { class: "photo-answer" }, this.#rankings(image, fused), where ? this.#where(where, place) : null),
      notes.map((note) => h("p", { class: "soft small" }, note)),
      this.#placing(place),
    );
    const [best] = fused ?? image ?? [];
    const kind = fused ? "with the place" : "from the image alone";
    this.spoken = best ? `${this.file.name}: ${best.name}, ${percent(best.probability)}, ${kind}.` : `${this.file.name} is read.`;
  }

  #rankings(image, fused) {
    const lists = [image, fused].filter(Boolean).map((list) => list.slice(0, SHOWN));
    if (!lists.length) return null;
    const top = scale(...lists);
    const ranks = new Map((image ?? []).map(({ name }, n) => [name, n]));
    const moves = new Map((fused ?? []).map(({ name }, n) => [name, moved(ranks.get(name), n)]));
    const column = (title, list, note) => h("div", {}, h("h4", {}, title), bars(list.slice(0, SHOWN), { top, note, label: title }));
    return h(
      "div",
      { class: "versus" },
      image ? column("Image alone", image, () => null) : null,
      fused ? column("Image and place", fused, (name) => (image ? moves.get(name) : null)) : this.#noPlace(),
    );
  }

  #noPlace() {
    return h("div", { class: "gap" }, h("h4", {}, "Image and place"), h("p", { class: "soft small" }, "Needs a place: put the photo on the map to compare."));
  }

  #where(where, truth) {
    const toggle = h("button", { type: "button", class: "link", "aria-pressed": "false", on: { click: () => this.#toggle(toggle, where) } }, "Show on the large map");
    this.toggle = toggle;
    return h(
      "div",
      { class: "where" },
      h("h4", {}, "Where was this taken?"),
      locator(where, truth),
      h("ol", { class: "places small" }, where.places.slice(0, 3).map((place, n) => this.#guess(place, n, truth))),
      h("div", { class: "row" }, truth ? h("span", { class: "soft small" }, h("span", { class: "truth-key", "aria-hidden": "true" }, "+ "), "its own place") : h("span"), toggle),
    );
  }

  #guess({ lon, lat, probability }, n, truth) {
    const away = truth ? `${distance(kilometres([lon, lat], truth))} off` : percent(probability);
    return h("li", {}, h("button", { type: "button", title: `${percent(probability)}`, on: { click: () => this.#tools.fly([lon, lat]) } },
      h("span", { class: "number", "aria-hidden": "true" }, String(n + 1)),
      h("span", { class: "name" }, placeName([lon, lat], 1)),
      h("span", { class: "value" }, away)));
  }

  #placing(place) {
    const pick = async () => {
      const picked = await this.#tools.pick(`Where was ${this.file.name} taken?`);
      if (picked) this.#tools.again(picked);
    };
    const chosen = state.get().place;
    const use = chosen && String(chosen) !== String(place)
      ? h("button", { type: "button", class: "link", on: { click: () => this.#tools.again(chosen) } }, `Use the chosen place, ${placeName(chosen)}`)
      : null;
    return h("div", { class: "row start" }, h("button", { type: "button", class: "link", on: { click: pick } }, place ? "Move it on the map" : "Place it on the map"), use);
  }

  #toggle(button, where) {
    const on = button.getAttribute("aria-pressed") !== "true";
    if (!on) return this.#hideOverlay();
    button.setAttribute("aria-pressed", "true");
    button.textContent = "Hide from the large map";
    this.#tools.overlay({ ...where, name: this.file.name }, () => {
      button.setAttribute("aria-pressed", "false");
      button.textContent = "Show on the large map";
    });
  }

  #hideOverlay() {
    if (this.toggle?.getAttribute("aria-pressed") === "true") this.#tools.overlay(null);
  }
}

function moved(before, now) {
  if (before === undefined) return h("span", { class: "moved up" }, "new");
  const by = before - now;
  if (by === 0) return null;
  const words = `${by > 0 ? "up" : "down"} ${Math.abs(by)}`;
  return h("span", { class: `moved ${by > 0 ? "up" : "down"}` }, h("span", { "aria-hidden": "true" }, `${by > 0 ? "▲" : "▼"}${Math.abs(by)}`), h("span", { class: "sr" }, words));
}
