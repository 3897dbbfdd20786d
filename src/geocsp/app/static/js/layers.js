// Which layer colours the map, how strongly, and its legend.

import * as api from "./api.js";
import { combobox } from "./combobox.js";
import { byId, h, show } from "./dom.js";
import { short } from "./format.js";
import { complain } from "./messages.js";
import * as state from "./state.js";

const NAMES = { class: "Class", embedding: "Embedding", uncertainty: "Uncertainty", similar: "Similar" };
const HELP = {
  class: "How likely the chosen class is at each place.",
  embedding: "The location embedding as colours: places of like colour look alike to the model.",
  uncertainty: "How undecided the model is between the classes.",
  similar: "How much each place resembles the chosen one.",
};

/** The layer and class shown: those of the address where this model has them. */
export function shown(info, now = state.get()) {
  const layer = info.layers.includes(now.layer) ? now.layer : info.layers[0];
  const className = info.classes.includes(now.class) ? now.class : info.classes[0];
  return { layer, className };
}

/** Build the controls and keep them in step with the address. */
export function startLayers(info) {
  const radios = info.layers.map((layer) => {
    const input = h("input", { type: "radio", name: "layer", value: layer, id: `layer-${layer}`, on: { change: () => state.set({ layer }) } });
    return [input, h("label", { for: input.id }, NAMES[layer] ?? layer)];
  });
  const select = combobox("Class", info.classes, (name) => state.set({ layer: "class", class: name }));
  const help = h("p", { class: "soft small" });
  const value = h("output", { for: "opacity" });
  const slider = h("input", {
    type: "range", id: "opacity", min: 0, max: 100, step: 5,
    on: { input: () => state.set({ opacity: Number(slider.value) }, { quietly: true }) },
  });
  show(
    byId("layers"),
    h("fieldset", {}, h("legend", {}, "Colour the map by"), h("div", { class: "segments" }, radios)),
    help,
    select.element,
    h("div", { class: "slider" }, h("label", { for: "opacity" }, "Opacity"), slider, value),
  );
  const refresh = (now) => {
    const { layer, className } = shown(info, now);
    for (const [input] of radios) input.checked = input.value === layer;
    const asks = layer === "similar" && !now.place;
    help.textContent = asks ? "Choose a place first: click the map, or give coordinates below." : HELP[layer];
    select.element.hidden = layer !== "class";
    select.set(className ?? "");
    slider.value = now.opacity;
    value.textContent = `${now.opacity} %`;
  };
  refresh(state.get());
  state.subscribe(refresh);
  startLegend(info);
}

function startLegend(info) {
  let asked = "";
  const refresh = async (now) => {
    const { layer, className } = shown(info, now);
    const key = `${layer} ${className}`;
    if (key === asked) return;
    asked = key;
    try {
      const legend = await api.legend(layer, className);
      if (asked === key) draw(legend);
    } catch (error) {
      byId("legend").hidden = true;
      complain(error);
    }
  };
  refresh(state.get());
  state.subscribe(refresh);
}

function draw({ title, low, high, unit, colours }) {
  const figure = byId("legend");
  const ramp = h("div", { class: "ramp", "aria-hidden": "true" });
  if (colours.length > 1) ramp.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
  const ends = () => h("div", { class: "ends" }, h("span", {}, short(low)), h("span", {}, short(high)));
  const caption = h("figcaption", {}, title, unit ? h("span", { class: "soft" }, ` ${unit}`) : null);
  show(figure, caption, ...(colours.length > 1 ? [ramp, ends()] : [h("p", { class: "soft" }, "Like colours, like places")]));
  figure.hidden = false;
}
