// The part of Markdown that model cards use, built from text nodes; HTML in it stays text.

import { h } from "./dom.js";

/** Elements for a Markdown text, its headings two levels lower; front matter is shown as it is. */
export function markdown(text) {
  const lines = text.replaceAll("\r", "").split("\n");
  const out = [];
  if (lines[0] === "---") {
    const end = lines.indexOf("---", 1);
    if (end > 0) out.push(code(lines.splice(0, end + 1).slice(1, -1)));
  }
  while (lines.length) {
    const block = next(lines);
    if (block) out.push(block);
  }
  return out;
}

function next(lines) {
  const [line] = lines;
  if (!line.trim()) return void lines.shift();
  if (line.startsWith("```")) {
    lines.shift();
    const body = take(lines, (other) => !other.startsWith("```"));
    lines.shift();
    return code(body);
  }
  const heading = /^(#{1,4}) (.*)/.exec(line);
  if (heading) {
    lines.shift();
    return h(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2]));
  }
  if (/^\s*[-*] /.test(line)) return list("ul", lines, /^\s*[-*] /);
  if (/^\s*\d+\. /.test(line)) return list("ol", lines, /^\s*\d+\. /);
  if (line.startsWith("|") && /^\|[\s:|-]+$/.test(lines[1] ?? "")) return table(lines);
  return h("p", {}, inline(take(lines, isText, 1).join(" ")));
}

const isText = (line) => line.trim() && !/^(#{1,4} |```|\s*[-*] |\s*\d+\. |\|)/.test(line);

function take(lines, holds, least = 0) {
  let count = least;
  while (count < lines.length && holds(lines[count])) count += 1;
  return lines.splice(0, count);
}

const code = (lines) => h("pre", { tabindex: 0 }, h("code", {}, lines.join("\n")));

function list(tag, lines, mark) {
  const items = [];
  while (lines.length && (mark.test(lines[0]) || (items.length && isText(lines[0])))) {
    const line = lines.shift();
    if (mark.test(line)) items.push(line.replace(mark, ""));
    else items[items.length - 1] += ` ${line.trim()}`;
  }
  return h(tag, {}, items.map((item) => h("li", {}, inline(item))));
}

function table(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const [head, , ...rows] = take(lines, (line) => line.startsWith("|")).map(cells);
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table" },
    h("table", {},
      h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, inline(cell))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, inline(cell))))))),
  );
}

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]+)\]\((https?:[^)\s]+)\)/g;

function inline(text) {
  const out = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    out.push(text.slice(from, found.index));
    from = found.index + found[0].length;
    const [, mono, strong, slanted, name, address] = found;
    if (mono) out.push(h("code", {}, mono));
    else if (strong) out.push(h("strong", {}, strong));
    else if (slanted) out.push(h("em", {}, slanted));
    else out.push(h("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, name));
  }
  return [...out, text.slice(from)];
}
