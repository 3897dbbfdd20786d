// What the model says of a place, and the places like it.

import * as api from "./api.js";
import { bars } from "./bars.js";
import { byId, h, show } from "./dom.js";
import { percent, placeName } from "./format.js";
import { announce, complain, settle } from "./messages.js";
import * as state from "./state.js";

/** Build the form and the answers; `found` is called with the similar places, `fly` with one. */
export function startPlace(info, { found, fly }) {
  const answer = h("div", { class: "answer" });
  const input = (id, most) =>
    h("input", { type: "number", id, name: id, min: -most, max: most, step: "any", required: true, inputmode: "decimal" });
  const lon = input("lon", 180);
  const lat = input("lat", 90);
  const form = h(
    "form",
    { class: "coordinates", on: { submit: (event) => {
      event.preventDefault();
      const place = [Number(lon.value), Number(lat.value)];
      state.set({ place });
      fly(place);
    } } },
    h("div", {}, h("label", { for: "lon" }, "Longitude"), lon),
    h("div", {}, h("label", { for: "lat" }, "Latitude"), lat),
    h("button", { type: "submit" }, "Ask"),
  );
  show(byId("place"), h("h2", {}, "Ask at a place"), form, answer);

  let running = new AbortController();
  const refresh = async (place) => {
    running.abort();
    running = new AbortController();
    found([]);
    if (!place) return show(answer, empty());
    [lon.value, lat.value] = place.map((value) => String(Number(value.toFixed(4))));
    answer.setAttribute("aria-busy", "true");
    try {
      const { signal } = running;
      const like = info.layers.includes("similar") ? api.similar(place, signal) : { places: [] };
      const [said, { places }] = await Promise.all([api.place(place, signal), like]);
      settle();
      show(answer, about(said), places.length ? similar(places, fly) : null);
      found(places);
      announce(spoken(said, places));
    } catch (error) {
      if (api.isAbort(error)) return;
      show(answer, empty());
      complain(error);
    }
    answer.removeAttribute("aria-busy");
  };
  state.subscribe((now, before) => String(now.place) !== String(before.place) && refresh(now.place));
  refresh(state.get().place);
}

const empty = () => h("p", { class: "empty" }, "Click the map, press Enter on it, or give coordinates.");

function about({ lon, lat, classes, colour, uncertainty }) {
  const swatch = h("span", { class: "swatch", title: "Colour of the embedding", "aria-hidden": "true" });
  swatch.style.background = colour;
  return h(
    "section",
    { "aria-labelledby": "place-title" },
    h("h2", { id: "place-title", class: "place-title" }, swatch, placeName([lon, lat])),
    uncertainty === null ? null : h("p", { class: "soft small" }, `Uncertainty ${uncertainty.toFixed(2)} (0 sure, 1 undecided)`),
    classes.length ? bars(classes, { label: "Classes by probability at this place", pick: (name) => state.set({ layer: "class", class: name }) }) : null,
  );
}

function similar(places, fly) {
  const colour = h("button", { type: "button", class: "link", on: { click: () => state.set({ layer: "similar" }) } }, "Colour the map by this");
  return h(
    "section",
    { "aria-labelledby": "similar-title" },
    h("div", { class: "row" }, h("h2", { id: "similar-title" }, "Places like this one"), colour),
    h(
      "ol",
      { class: "places" },
      places.map(({ lon, lat, similarity }, n) =>
        h(
          "li",
          {},
          h("button", { type: "button", on: { click: () => fly([lon, lat]) } },
            h("span", { class: "number", "aria-hidden": "true" }, String(n + 1)),
            h("span", { class: "name" }, placeName([lon, lat])),
            h("span", { class: "value" }, h("span", { class: "sr" }, "similarity "), similarity.toFixed(3))),
        ),
      ),
    ),
  );
}

function spoken({ lon, lat, classes }, places) {
  const first = classes[0] ? `most likely ${classes[0].name}, ${percent(classes[0].probability)}. ` : "";
  return `${placeName([lon, lat])}: ${first}${places.length} similar places.`;
}
