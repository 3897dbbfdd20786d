// A searchable select, after the ARIA Authoring Practices' combobox with a list box.

import { h, show } from "./dom.js";

const SHOWN = 80;
let count = 0;

/** A labelled combobox over `names`; `chosen` is called with the name that was picked. */
export function combobox(label, names, chosen) {
  const id = `combobox-${(count += 1)}`;
  const list = h("ul", { id: `${id}-list`, role: "listbox", "aria-label": label, class: "options", hidden: true });
  const input = h("input", {
    id,
    type: "text",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    "aria-expanded": "false",
    "aria-controls": list.id,
    "aria-autocomplete": "list",
  });
  let value = "";
  let found = [];
  let at = -1;

  const close = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    input.value = value;
  };
  const pick = (name) => {
    value = name;
    close();
    chosen(name);
  };
  const point = (to) => {
    list.children[at]?.setAttribute("aria-selected", "false");
    at = to;
    const option = list.children[at];
    if (!option) return;
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  };
  const open = (text) => {
    const all = matching(names, text);
    found = all.slice(0, SHOWN);
    show(
      list,
      found.map((name, n) =>
        h(
          "li",
          {
            id: `${id}-${n}`,
            role: "option",
            "aria-selected": "false",
            class: name === value ? "present" : null,
            on: { pointerdown: (event) => event.preventDefault(), click: () => pick(name) },
          },
          name,
        ),
      ),
      rest(all.length),
    );
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    at = -1;
    input.removeAttribute("aria-activedescendant");
    if (found.length) point(Math.max(0, text ? 0 : found.indexOf(value)));
  };

  input.addEventListener("input", () => open(input.value));
  input.addEventListener("click", () => {
    input.select();
    if (list.hidden) open("");
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
    if (event.key in moves) {
      event.preventDefault();
      if (list.hidden) open("");
      else point(Math.max(0, Math.min(found.length - 1, at + moves[event.key])));
    } else if (event.key === "Enter" && !list.hidden && found[at] !== undefined) {
      event.preventDefault();
      pick(found[at]);
    } else if (event.key === "Escape" && !list.hidden) {
      event.stopPropagation();
      close();
    }
  });

  const set = (name) => {
    value = name;
    input.value = name;
  };
  return { element: h("div", { class: "combobox" }, h("label", { for: id }, label), input, list), set };
}

/** Names that hold every word, those that start with the text first. */
export function matching(names, text) {
  const sought = text.trim().toLowerCase();
  if (!sought) return names;
  const words = sought.split(/\s+/);
  const found = names.filter((name) => words.every((word) => name.toLowerCase().includes(word)));
  const starts = (name) => name.toLowerCase().startsWith(sought);
  return [...found.filter(starts), ...found.filter((name) => !starts(name))];
}

function rest(total) {
  if (total === 0) return h("li", { class: "soft", role: "option", "aria-disabled": "true", "aria-selected": "false" }, "No class of this name");
  if (total <= SHOWN) return null;
  return h("li", { class: "soft", role: "option", "aria-disabled": "true", "aria-selected": "false" }, `${total - SHOWN} more: type to narrow`);
}
