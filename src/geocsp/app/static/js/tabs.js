// The tabs of the panel, after the ARIA Authoring Practices: arrows move and open.

import { byId } from "./dom.js";
import * as state from "./state.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const nameOf = (tab) => tab.getAttribute("aria-controls");

export function startTabs() {
  for (const tab of tabs) {
    tab.addEventListener("click", () => state.set({ tab: nameOf(tab) }));
    tab.addEventListener("keydown", (event) => {
      const shown = tabs.filter((other) => !other.hidden);
      const at = shown.indexOf(tab);
      const to = {
        ArrowRight: (at + 1) % shown.length,
        ArrowLeft: (at + shown.length - 1) % shown.length,
        Home: 0,
        End: shown.length - 1,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      shown[to].focus();
      state.set({ tab: nameOf(shown[to]) });
    });
  }
  state.subscribe((now, before) => now.tab !== before.tab && open(now.tab));
  open(state.get().tab);
}

function open(name) {
  for (const tab of tabs) {
    const chosen = nameOf(tab) === name;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    byId(nameOf(tab)).hidden = !chosen;
  }
  byId("panel").dataset.tab = name;
}
