// A small drawn map of where a photo may have been taken.

import { basemap, linesOf } from "./basemap.js";
import { s } from "./dom.js";
import { placeName } from "./format.js";

const SIZE = 1024;
const TOP = 78;
const BOTTOM = -58;

const x = (lon) => ((lon + 180) / 360) * SIZE;

function y(lat) {
  const held = Math.max(-85.0511, Math.min(85.0511, lat));
  const up = Math.log(Math.tan(Math.PI / 4 + (held * Math.PI) / 360));
  return (0.5 - up / (2 * Math.PI)) * SIZE;
}

/** `where` as an SVG in web mercator; `truth` is the photo's own place or null. */
export function locator({ overlay, bounds, places }, truth) {
  const land = s("path", { class: "land" });
  const coast = s("path", { class: "coast" });
  draw(land, coast);
  const [west, south, east, north] = bounds;
  const picture = s("image", {
    x: x(west), y: y(north), width: x(east) - x(west), height: y(south) - y(north),
    preserveAspectRatio: "none", href: overlay,
  });
  return s(
    "svg",
    { class: "locator", viewBox: `0 ${y(TOP)} ${SIZE} ${y(BOTTOM) - y(TOP)}`, role: "img", "aria-label": inWords(places, truth) },
    land, picture, coast,
    places.slice(0, 3).reverse().map((place) => dot(place, places.indexOf(place) + 1)),
    truth && cross(truth),
  );
}

function dot({ lon, lat }, number) {
  return s(
    "g",
    { transform: `translate(${x(lon)} ${y(lat)})`, class: "guess" },
    s("circle", { r: 21 }),
    s("text", { "text-anchor": "middle", dy: "0.35em" }, String(number)),
  );
}

function cross([lon, lat]) {
  const path = "M-18 0H18M0 -18V18";
  return s(
    "g",
    { transform: `translate(${x(lon)} ${y(lat)})`, class: "truth" },
    s("path", { d: path, class: "halo" }),
    s("path", { d: path }),
  );
}

function inWords(places, truth) {
  const first = places[0] ? `Most likely taken at ${placeName([places[0].lon, places[0].lat])}.` : "No likely place.";
  return truth ? `${first} The cross is the photo's own place, ${placeName(truth)}.` : first;
}

let paths = null;

async function draw(land, coast) {
  try {
    const base = await basemap("low");
    paths ??= { land: `${linesOf(base, "land").map(line).join("Z")}Z`, coast: linesOf(base, "coast").map(line).join("") };
  } catch {
    return; // the overlay and the marks stand on their own
  }
  land.setAttribute("d", paths.land);
  coast.setAttribute("d", paths.coast);
}

const line = (points) => `M${points.map(([lon, lat]) => `${x(lon).toFixed(1)} ${y(lat).toFixed(1)}`).join("L")}`;
