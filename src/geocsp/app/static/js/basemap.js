// The base map: land, coast and borders from the server.

import * as api from "./api.js";

const kept = new Map();

/** GeoJSON of this detail, whose features say their kind; asked for once. */
export function basemap(detail) {
  if (!kept.has(detail)) {
    const asked = api.land(detail);
    asked.catch(() => kept.delete(detail));
    kept.set(detail, asked);
  }
  return kept.get(detail);
}

/** All lines and rings of the features of a kind: "land", "coast" or "border". */
export function linesOf(geojson, kind) {
  const found = geojson.features.filter(({ properties }) => properties.kind === kind);
  return found.flatMap(({ geometry }) => (kind === "land" ? geometry.coordinates.flat() : geometry.coordinates));
}
