// Photos: choose or drop them, and a card for each.

import { isAbort } from "./api.js";
import { byId, h, show } from "./dom.js";
import { megabytes } from "./format.js";
import { announce } from "./messages.js";
import { PhotoCard } from "./photocard.js";
import * as state from "./state.js";
import { Uploads } from "./uploads.js";

/**
 * Build the page of photos.
 *
 * `tools` are what a card needs of the large map: `pick(text)` asks for a place on it, `fly` goes to
 * one, `overlay` lays a picture over it.
 */
export function startPhotos(info, tools) {
  if (!info.has_images) {
    show(byId("photos"), h("h2", {}, "Photos"), h("p", { class: "empty" }, "This model looks at places alone. Open a classifier with an image encoder (geocsp finetune writes one) to drop photos here."));
    catchDrops(() => {}); // else the browser leaves the page for the file
    return;
  }
  const cards = h("ul", { class: "cards" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Photos answered" });
  const words = h("span", {});
  const uploads = new Uploads(({ done, all }) => {
    progress.hidden = done === all;
    bar.max = Math.max(1, all);
    bar.value = done;
    words.textContent = `${done} of ${all} photos`;
  });
  const stop = h("button", { type: "button", class: "quiet", on: { click: () => uploads.stop() } }, "Cancel");
  const progress = h("div", { class: "progress", hidden: true }, bar, words, stop);

  const run = async (card, lonlat) => {
    if (card.file.size > info.max_upload_bytes) {
      return card.fail(`This file has ${megabytes(card.file.size)}; at most ${megabytes(info.max_upload_bytes)} are taken.`, lonlat);
    }
    card.wait();
    try {
      const answer = await uploads.send(card.file, lonlat);
      card.answer(answer);
      announce(card.spoken);
    } catch (error) {
      card.fail(isAbort(error) ? "Cancelled." : error.message, lonlat);
      announce(`${card.file.name}: ${error.message}`);
    }
  };
  const add = (files) => {
    for (const file of files) {
      const card = new PhotoCard(file, { ...tools, again: (lonlat) => run(card, lonlat) });
      cards.prepend(card.element);
      run(card, null);
    }
  };

  const input = h("input", { type: "file", id: "files", multiple: true, accept: "image/*,.heic,.heif,.tif,.tiff", on: { change: () => {
    add([...input.files]);
    input.value = "";
  } } });
  show(
    byId("photos"),
    h("h2", { class: "sr" }, "Photos"),
    h("div", { class: "drop" },
      input,
      h("label", { for: "files" }, h("strong", {}, "Choose photos"), h("span", {}, "or drop them anywhere on this page")),
      h("p", { class: "soft small" }, `They are sent to this address only. Their place is read from EXIF. Up to ${megabytes(info.max_upload_bytes)} each.`)),
    progress,
    cards,
  );
  catchDrops(add);
}

function catchDrops(add) {
  const root = document.documentElement;
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    root.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => event.relatedTarget || root.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    root.classList.remove("dropping");
    state.set({ tab: "photos" });
    add([...event.dataTransfer.files]);
  });
}
