// On a phone the panel is a sheet at the bottom with three heights: tap or drag its handle.

import { byId, isPhone } from "./dom.js";

const SIZES = ["low", "half", "full"];
const SPOKEN = { low: "Panel is small. Make it larger", half: "Panel covers half. Make it larger", full: "Panel covers the page. Make it small" };
const panel = byId("panel");
const handle = byId("handle");

export function startSheet() {
  resize("half");
  let dragged = false;
  handle.addEventListener("click", () => {
    if (dragged) return; // the end of a drag is a click, too
    resize(SIZES[(SIZES.indexOf(panel.dataset.size) + 1) % SIZES.length]);
  });
  let start = null;
  handle.addEventListener("pointerdown", (event) => {
    start = event.clientY;
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointerup", (event) => {
    const moved = start === null ? 0 : event.clientY - start;
    start = null;
    if (Math.abs(moved) < 30) return;
    dragged = true;
    setTimeout(() => (dragged = false), 50);
    step(moved < 0 ? 1 : -1);
  });
}

/** Make room for the map on a phone. */
export const lower = () => isPhone() && resize("low");

/** Show what the panel says on a phone, without hiding the map. */
export const raise = () => isPhone() && panel.dataset.size === "low" && resize("half");

/** Pixels of the map that the sheet covers. */
export const covered = () => (isPhone() ? panel.getBoundingClientRect().height : 0);

function step(by) {
  const to = SIZES.indexOf(panel.dataset.size) + by;
  resize(SIZES[Math.max(0, Math.min(SIZES.length - 1, to))]);
}

function resize(size) {
  panel.dataset.size = size;
  byId("handle-name").textContent = SPOKEN[size];
}
