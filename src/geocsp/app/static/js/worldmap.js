// The large map, drawn by MapLibre GL, which is loaded after the page's first paint.

import { basemap } from "./basemap.js";
import { h, reducedMotion } from "./dom.js";
import { wrapLon } from "./format.js";
import { marker, placeMarker } from "./markers.js";
import { colours, styleOf } from "./mapstyle.js";
import { isDark } from "./theme.js";

const LIBRARY = new URL("../vendor/maplibre-gl/maplibre-gl.mjs", import.meta.url).href;
const SHEET = new URL("../vendor/maplibre-gl/maplibre-gl.css", import.meta.url).href;
const FINE_FROM = 3.2;

export class WorldMap {
  #gl;
  #map;
  #marks = [];
  #pin = null;
  #fine = false;

  /** Draw into `container`; `view` is [lon, lat, zoom] or null, `failed` is called with errors. */
  static async create(container, view, failed) {
    document.head.append(h("link", { rel: "stylesheet", href: SHEET }));
    const [gl, base] = await Promise.all([import(LIBRARY), basemap("low")]);
    const world = new WorldMap();
    world.#gl = gl;
    const [lon, lat, zoom] = view ?? [8, 22, Math.max(0, Math.log2(container.clientWidth / 512))];
    world.#map = new gl.Map({
      container,
      style: styleOf(base, isDark()),
      center: [lon, lat],
      zoom,
      minZoom: 0,
      maxZoom: 12,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: reducedMotion() ? 0 : 200,
      locale: { "Map.Title": "World map. Enter asks at the centre." },
    });
    world.#map.touchZoomRotate.disableRotation();
    world.#map.keyboard.disableRotation();
    world.#map.addControl(new gl.NavigationControl({ showCompass: false }), "top-right");
    world.#map.on("error", ({ error }) => failed(error));
    world.#map.on("zoomend", () => world.#refine());
    await new Promise((done) => world.#map.once("load", done));
    world.#refine();
    return world;
  }

  get canvas() {
    return this.#map.getCanvas();
  }

  /** Call with [lon, lat] on a click, and on Enter with the centre. */
  onPick(picked) {
    this.#map.on("click", ({ lngLat }) => picked([wrapLon(lngLat.lng), lngLat.lat]));
    this.canvas.setAttribute("aria-describedby", "map-help");
    this.canvas.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      const { lng, lat } = this.#map.getCenter();
      picked([wrapLon(lng), lat]);
    });
  }

  /** Call with [lon, lat, zoom] after each movement. */
  onMoved(moved) {
    this.#map.on("moveend", () => moved(this.view));
  }

  get view() {
    const { lng, lat } = this.#map.getCenter();
    return [wrapLon(lng), lat, this.#map.getZoom()];
  }

  look([lon, lat, zoom]) {
    this.#map.jumpTo({ center: [lon, lat], zoom });
  }

  /** Fly to a place; `covered` pixels at the bottom are hidden by the sheet. */
  fly(lonlat, covered = 0) {
    this.#map.flyTo({ center: lonlat, zoom: Math.max(2.5, this.#map.getZoom()), offset: [0, -covered / 2], maxDuration: 1600 });
  }

  /** Move up a place that the sheet would hide. */
  uncover(lonlat, covered) {
    const y = this.#map.project(lonlat).y;
    const height = this.canvas.clientHeight;
    if (y > height - covered - 30) this.#map.easeTo({ center: lonlat, offset: [0, -covered / 2], duration: 400 });
  }

  /** Colour the map by these tiles, or not at all. */
  colour(tiles) {
    const source = this.#map.getSource("tiles");
    if (tiles) source.setTiles([tiles]);
    this.#map.setLayoutProperty("tiles", "visibility", tiles ? "visible" : "none");
  }

  set opacity(percent) {
    this.#map.setPaintProperty("tiles", "raster-opacity", percent / 100);
  }

  set place(lonlat) {
    this.#pin?.remove();
    this.#pin = lonlat && new this.#gl.Marker({ element: placeMarker(lonlat) }).setLngLat(lonlat).addTo(this.#map);
  }

  /** Numbered marks: [{lonlat, text}]; `picked` is called with one's number. */
  mark(places, picked) {
    for (const mark of this.#marks) mark.remove();
    this.#marks = places.map(({ lonlat, text }, n) =>
      new this.#gl.Marker({ element: marker(n + 1, text, () => picked(n)) }).setLngLat(lonlat).addTo(this.#map),
    );
  }

  /** Lay a canvas in web mercator over the map, or take it away with null. */
  overlay(canvas, bounds) {
    if (this.#map.getLayer("overlay")) this.#map.removeLayer("overlay").removeSource("overlay");
    if (!canvas) return;
    const [west, south, east, north] = bounds;
    const corners = [[west, north], [east, north], [east, south], [west, south]];
    this.#map.addSource("overlay", { type: "canvas", canvas, animate: false, coordinates: corners });
    this.#map.addLayer({ id: "overlay", type: "raster", source: "overlay", paint: { "raster-opacity": 0.85 } }, "halo");
    this.#map.setLayoutProperty("tiles", "visibility", "none");
  }

  /** Take on the page's colours. */
  restyle() {
    for (const [layer, property, value] of colours(isDark())) this.#map.setPaintProperty(layer, property, value);
  }

  async #refine() {
    if (this.#fine || this.#map.getZoom() < FINE_FROM) return;
    this.#fine = true;
    this.#map.getSource("base").setData(await basemap("medium").catch(() => basemap("low")));
  }
}
