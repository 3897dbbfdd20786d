// Start: the shell is on the page already; ask the server, build the panel, then load the map.

import { startAbout } from "./about.js";
import * as api from "./api.js";
import { byId, h, isPhone, show } from "./dom.js";
import { placeName } from "./format.js";
import { shown, startLayers } from "./layers.js";
import { announce, complain } from "./messages.js";
import { startPhotos } from "./photos.js";
import { startPlace } from "./place.js";
import { startReport } from "./report.js";
import { covered, lower, raise, startSheet } from "./sheet.js";
import * as state from "./state.js";
import { startTabs } from "./tabs.js";
import { startTheme } from "./theme.js";
import { WorldMap } from "./worldmap.js";

let world = null;
let similar = [];
let waiting = null; // resolves the place that a photo asks for
let overlayGone = null; // tells a photo's card that its overlay was taken away

async function start() {
  const [info] = await Promise.all([api.info(), painted()]).catch((error) => {
    complain(error);
    show(byId("layers"), h("button", { type: "button", on: { click: () => location.reload() } }, "Try again"));
    byId("map-state").textContent = "No map without the server.";
    return [];
  });
  if (!info) return;
  byId("model-name").textContent = info.name;
  document.title = `${info.name} – geocsp`;
  startLayers(info);
  startPlace(info, { found, fly });
  startPhotos(info, { pick, fly, overlay });
  startReport(info);
  startAbout(info);
  await startWorld(info);
}

const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

async function startWorld(info) {
  try {
    world = await WorldMap.create(byId("map"), state.get().view, (error) => complain(tileProblem(error)));
  } catch (error) {
    byId("map-state").textContent = "The map cannot be drawn here (it needs WebGL). Everything else works: give coordinates instead.";
    console.warn(error.message);
    return;
  }
  byId("map-state").hidden = true;
  world.onPick(picked);
  world.onMoved((view) => state.set({ view }, { quietly: true }));
  paint(info, state.get(), null);
  state.subscribe((now, before) => paint(info, now, before));
  mark();
  performance.mark("geocsp-map");
  document.documentElement.dataset.ready = "map";
}

/** Bring the map in line with the state. */
function paint(info, now, before) {
  const { layer, className } = shown(info, now);
  const tiles = layer === undefined || (layer === "similar" && !now.place) ? null : api.tiles(layer, className, now.place);
  if (tiles !== paint.tiles) {
    paint.tiles = tiles;
    overlay(null);
    world.colour(tiles);
  }
  if (now.opacity !== before?.opacity) world.opacity = now.opacity;
  if (String(now.place) !== String(before?.place)) world.place = now.place;
  const moved = before && now.view && now.view !== before.view; // anything else must not end a flight
  if (moved && String(now.view.map(round)) !== String(world.view.map(round))) world.look(now.view);
}

const round = (value) => value.toFixed(2);

function tileProblem(error) {
  if (error.status) return new Error(`The server answered ${error.status} for a part of the map.`);
  return new Error("A part of the map could not be loaded. Is geocsp app still running?");
}

function picked(lonlat) {
  if (waiting) return finish(lonlat);
  state.set({ place: lonlat, tab: "explore" });
  raise();
  if (isPhone()) byId("place").scrollIntoView();
  world.uncover(lonlat, covered());
}

function found(places) {
  similar = places;
  mark();
}

function mark() {
  const text = ({ lon, lat, similarity }, n) => `Similar place ${n + 1}: ${placeName([lon, lat])}, ${similarity.toFixed(3)}`;
  const marks = similar.map((place, n) => ({ lonlat: [place.lon, place.lat], text: text(place, n) }));
  world?.mark(marks, (n) => fly(marks[n].lonlat));
}

function fly(lonlat) {
  world?.fly(lonlat, covered());
  announce(`Map at ${placeName(lonlat)}`);
}

/** Ask for a place on the map; null if that is cancelled. */
function pick(question) {
  finish(null);
  if (!world) return Promise.resolve(null);
  lower();
  const cancel = h("button", { type: "button", on: { click: () => finish(null) } }, "Cancel");
  show(byId("banner"), h("span", {}, `${question} Click the map, or press Enter for its centre.`), cancel);
  byId("banner").hidden = false;
  byId("world").classList.add("picking");
  world.canvas.focus();
  announce(`${question} Move the map with the arrow keys and press Enter. Escape cancels.`);
  return new Promise((resolve) => (waiting = resolve));
}

function finish(lonlat) {
  byId("banner").hidden = true;
  byId("world").classList.remove("picking");
  waiting?.(lonlat);
  waiting = null;
  raise();
}

/** Lay a photo's map of places over the large map; null takes it away. */
function overlay(where, gone = null) {
  overlayGone?.();
  overlayGone = gone;
  byId("world").classList.toggle("overlaid", Boolean(where));
  byId("overlay-note").hidden = !where;
  if (!world) return;
  if (!where) {
    world.overlay(null);
    world.colour(paint.tiles);
    return;
  }
  const hide = h("button", { type: "button", class: "quiet", on: { click: () => overlay(null) } }, "Hide");
  show(byId("overlay-note"), h("span", {}, `Where ${where.name} may have been taken`), hide);
  const picture = new Image();
  picture.addEventListener("load", () => {
    if (overlayGone !== gone) return;
    const canvas = h("canvas", { width: picture.naturalWidth, height: picture.naturalHeight });
    canvas.getContext("2d").drawImage(picture, 0, 0);
    world.overlay(canvas, where.bounds);
    if (isPhone()) lower();
  });
  picture.src = where.overlay;
}

addEventListener("keydown", (event) => event.key === "Escape" && waiting && finish(null));
byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address holds the state
  byId("panel").focus();
});
startTabs();
startSheet();
startTheme(() => world?.restyle());
start();
