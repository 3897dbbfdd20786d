// Label efficiency: accuracy against the number of labels, from an evaluation's results.

import * as api from "./api.js";
import { chart } from "./chart.js";
import { byId, h, show } from "./dom.js";
import { complain } from "./messages.js";
import * as state from "./state.js";

const MEASURES = {
  image: "image alone",
  location: "place alone",
  product: "image and place, plain product",
  fused: "image and place, calibrated",
  guarded: "image and place, calibrated and guarded",
};
const FIRST = ["fused", "product"];
const measureName = (measure) => MEASURES[measure] ?? measure;

/** Ask for the report once its tab is opened. */
export function startReport(info) {
  const page = byId("report");
  if (!info.has_report) {
    show(page, h("h2", {}, "Label efficiency"), h("p", { class: "empty" }, "No evaluation is open. Run geocsp evaluate and give its folder to geocsp app to see it here."));
    return;
  }
  let asked = false;
  const refresh = async ({ tab }) => {
    if (tab !== "report" || asked) return;
    asked = true;
    show(page, h("p", { class: "soft" }, "Reading the results …"));
    try {
      draw(page, (await api.report()).tasks);
    } catch (error) {
      asked = false;
      show(page, h("p", { class: "empty" }, "The results cannot be shown."));
      complain(error);
    }
  };
  state.subscribe(refresh);
  refresh(state.get());
}

function draw(page, tasks) {
  const figures = h("div", {});
  const task = choice("Task", unique(tasks.map((one) => one.task)), (name) => name);
  const measure = choice("Judged by", unique(tasks.map((one) => one.measure)), measureName);
  const options = [...measure.select.options].map(({ value }) => value);
  measure.select.value = FIRST.find((name) => options.includes(name)) ?? options[0];
  const refresh = () => {
    const shown = tasks.find((one) => one.task === task.select.value && one.measure === measure.select.value);
    show(figures, shown ? charts(shown) : h("p", { class: "empty" }, "Not measured."));
  };
  for (const { select } of [task, measure]) select.addEventListener("change", refresh);
  refresh();
  show(
    page,
    h("div", { class: "row" }, h("h2", {}, "Label efficiency"), h("a", { href: "report/report.html", target: "_blank", rel: "noopener" }, "Full report", h("span", { class: "sr" }, " (opens a new tab)"))),
    h("p", { class: "soft small" }, "Top-1 accuracy on places that training never saw, against the number of labels. Bands are 95 % intervals."),
    h("div", { class: "choices" }, task.element, measure.element),
    figures,
  );
}

/** A chart for each way to count labels; a single amount of labels makes no curve, but a table. */
function charts({ task, measure, curves }) {
  const kinds = unique(curves.flatMap(({ points }) => points.map(({ shot }) => kindOf(shot))));
  return kinds.map((kind) => {
    const some = curves
      .map((curve) => ({ ...curve, points: curve.points.filter(({ shot }) => kindOf(shot) === kind) }))
      .filter(({ points }) => points.length);
    return chart(`${task}, ${measureName(measure)}`, some);
  });
}

const kindOf = (shot) => (shot.endsWith("%") ? "share" : "per class");

const unique = (values) => [...new Set(values)];

function choice(label, values, name) {
  const select = h("select", { id: `choice-${label.replaceAll(" ", "-").toLowerCase()}` }, values.map((value) => h("option", { value }, name(value))));
  return { select, element: h("div", {}, h("label", { for: select.id }, label), select) };
}
