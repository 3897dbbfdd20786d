// A line chart with bands, drawn at its own width so that the letters keep their size.

import { h, s } from "./dom.js";
import { percent } from "./format.js";

const HEIGHT = 300;
const MARGIN = { top: 14, right: 16, bottom: 46, left: 44 };
const SHAPES = ["circle", "square", "diamond", "triangle"];

/** A figure of these curves: [{label, points: [{shot, labels, mean, low, high}]}]. */
export function chart(title, curves) {
  const holder = h("div", { class: "plot" });
  const shots = shotsOf(curves);
  const table = tableOf(title, curves, shots);
  const button = h("button", { type: "button", class: "link", "aria-expanded": "false", on: { click: () => {
    table.hidden = !table.hidden;
    button.setAttribute("aria-expanded", String(!table.hidden));
    button.textContent = table.hidden ? "Show as a table" : "Hide the table";
  } } }, "Show as a table");
  const redraw = () => holder.clientWidth && holder.replaceChildren(draw(title, curves, shots, holder.clientWidth));
  new ResizeObserver(redraw).observe(holder);
  return h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, title),
    holder,
    h("ul", { class: "keys" }, curves.map(({ label }, n) => h("li", {}, key(n), label))),
    button,
    table,
  );
}

function shotsOf(curves) {
  const labels = new Map();
  for (const { points } of curves) for (const { shot, labels: count } of points) labels.set(shot, count);
  return [...labels].map(([shot, count]) => ({ shot, count })).sort((a, b) => a.count - b.count);
}

function draw(title, curves, shots, width) {
  const points = curves.flatMap((curve) => curve.points);
  const [bottom, top] = [Math.min(...points.map((p) => p.low ?? p.mean)), Math.max(...points.map((p) => p.high ?? p.mean))];
  const ticks = ticksOf(Math.max(0, bottom), Math.min(1, top));
  const [lowest, highest] = [Math.min(bottom, ticks[0]), Math.max(top, ticks.at(-1))];
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const logs = shots.map(({ count }) => Math.log(Math.max(count, 1)));
  const span = logs.at(-1) - logs[0] || 1;
  const x = (count) => MARGIN.left + 8 + ((Math.log(Math.max(count, 1)) - logs[0]) / span) * (inner.width - 16);
  const y = (value) => MARGIN.top + inner.height * (1 - (value - lowest) / (highest - lowest || 1));
  const svg = s("svg", { width, height: HEIGHT, role: "img", "aria-label": `${title}. ${inWords(curves)}` });
  for (const tick of ticks) {
    svg.append(
      s("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }),
      s("text", { x: MARGIN.left - 8, y: y(tick), dy: "0.32em", "text-anchor": "end" }, `${Math.round(100 * tick)} %`),
    );
  }
  let free = -Infinity;
  for (const { shot, count } of shots) {
    const short = shot.replace(" per class", "");
    const half = 4 * short.length + 4;
    if (x(count) - half < free) continue;
    free = x(count) + half;
    svg.append(s("text", { x: x(count), y: HEIGHT - MARGIN.bottom + 20, "text-anchor": "middle" }, short));
  }
  const perClass = shots.every(({ shot }) => shot.endsWith("per class"));
  svg.append(s("text", { class: "axis", x: MARGIN.left + inner.width / 2, y: HEIGHT - 6, "text-anchor": "middle" }, perClass ? "labels per class" : "share of the labels"));
  curves.forEach((curve, n) => svg.append(line(curve, n, x, y)));
  return svg;
}

function line({ label, points }, n, x, y) {
  const sorted = [...points].sort((a, b) => a.labels - b.labels);
  const path = (values) => values.map(([px, py], at) => `${at ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
  const upper = sorted.map((p) => [x(p.labels), y(p.high ?? p.mean)]);
  const lower = sorted.map((p) => [x(p.labels), y(p.low ?? p.mean)]).reverse();
  const group = s("g", { class: `curve c${n % 8}` });
  group.append(
    s("path", { class: "band", d: `${path([...upper, ...lower])}Z` }),
    s("path", { class: "line", d: path(sorted.map((p) => [x(p.labels), y(p.mean)])), "stroke-dasharray": n < 4 ? null : "6 4" }),
    ...sorted.map((p) => dot(n, x(p.labels), y(p.mean), `${label}, ${p.shot}: ${percent(p.mean)}`)),
  );
  return group;
}

function dot(n, x, y, text) {
  const shape = SHAPES[n % SHAPES.length];
  const paths = { square: "M-3.6-3.6h7.2v7.2h-7.2z", diamond: "M0-5l5 5-5 5-5-5z", triangle: "M0-5l4.8 8.4h-9.6z" };
  const element = shape === "circle" ? s("circle", { r: 4 }) : s("path", { d: paths[shape] });
  element.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
  element.setAttribute("class", "dot");
  element.append(s("title", {}, text));
  return element;
}

function key(n) {
  return s("svg", { class: `key curve c${n % 8}`, width: 30, height: 12, "aria-hidden": "true" },
    s("path", { class: "line", d: "M1 6H29", "stroke-dasharray": n < 4 ? null : "6 4" }), dot(n, 15, 6, ""));
}

/** Round steps that span the values. */
export function ticksOf(low, high) {
  const rough = Math.max(1e-6, high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let n = Math.floor(low / step + 1e-9); n <= Math.ceil(high / step - 1e-9); n += 1) ticks.push(n * step);
  return ticks;
}

const inWords = (curves) =>
  curves.map(({ label, points }) => `${label}: ${points.map(({ shot, mean }) => `${shot} ${percent(mean)}`).join(", ")}`).join(". ");

function tableOf(title, curves, shots) {
  const cell = (points, shot) => {
    const point = points.find((candidate) => candidate.shot === shot);
    if (!point) return h("td", {}, "–");
    const range = point.low === null || point.high === null ? null : h("small", {}, ` ${percent(point.low)} to ${percent(point.high)}`);
    return h("td", {}, percent(point.mean), range);
  };
  return h(
    "div",
    { class: "scroll", hidden: true, tabindex: 0, role: "group", "aria-label": `Table: ${title}` },
    h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Row"), shots.map(({ shot, count }) => h("th", { scope: "col" }, shot, h("small", {}, ` ${Math.round(count).toLocaleString("en")} labels`))))),
      h("tbody", {}, curves.map(({ label, points }) => h("tr", {}, h("th", { scope: "row" }, label), shots.map(({ shot }) => cell(points, shot)))))),
  );
}
