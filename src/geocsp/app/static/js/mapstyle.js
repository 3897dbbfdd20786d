// Style of the large map: land, tiles, coast; no labels, hence no fonts to load.

import { reducedMotion } from "./dom.js";

const LIGHT = { water: "#dfe7ee", land: "#f6f5f1", coast: "rgba(16, 24, 34, 0.8)", halo: "rgba(255, 255, 255, 0.38)", border: "rgba(16, 24, 34, 0.28)" };
const DARK = { water: "#111923", land: "#222c38", coast: "rgba(240, 245, 250, 0.8)", halo: "rgba(8, 12, 18, 0.4)", border: "rgba(240, 245, 250, 0.28)" };

/** A MapLibre style over this base map. */
export function styleOf(base, dark) {
  const style = {
    version: 8,
    sources: {
      base: { type: "geojson", data: base },
      tiles: { type: "raster", tiles: [], tileSize: 256 },
    },
    layers: [
      { id: "water", type: "background", paint: {} },
      { id: "land", type: "fill", source: "base", filter: ofKind("land"), paint: { "fill-antialias": false } },
      {
        id: "tiles",
        type: "raster",
        source: "tiles",
        layout: { visibility: "none" },
        paint: { "raster-fade-duration": reducedMotion() ? 0 : 120 },
      },
      line("border", "border", 0.5),
      line("halo", "coast", 2.2),
      line("coast", "coast", 0.7),
    ],
  };
  for (const [layer, property, value] of colours(dark)) {
    style.layers.find(({ id }) => id === layer).paint[property] = value;
  }
  return style;
}

const ofKind = (kind) => ["==", ["get", "kind"], kind];

/** A line of this width in pixels, wider when near. */
const line = (id, kind, width) => ({
  id,
  type: "line",
  source: "base",
  filter: ofKind(kind),
  layout: { "line-join": "round" },
  paint: { "line-width": ["interpolate", ["linear"], ["zoom"], 0, width, 6, 2 * width] },
});

/** [layer, property, value] of everything that depends on the theme. */
export function colours(dark) {
  const set = dark ? DARK : LIGHT;
  return [
    ["water", "background-color", set.water],
    ["land", "fill-color", set.land],
    ["border", "line-color", set.border],
    ["halo", "line-color", set.halo],
    ["coast", "line-color", set.coast],
  ];
}
