// What several screens show: badges, buttons, moments that go on counting.

import { h, svg } from "./dom.js";
import * as words from "./words.js";

const ICONS = {
  down: "m6 9 6 6 6-6",
  good: "M20 6 9 17l-5-5",
  waiting: "M12 6v6l4 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18",
  trouble: "M12 8v5M12 17h.01M10.3 3.9 1.8 18.2A2 2 0 0 0 3.5 21h17a2 2 0 0 0 1.7-2.8L13.7 3.9a2 2 0 0 0-3.4 0",
  moving: "M4 11a8 8 0 0 1 14-5l2 2M20 3v5h-5M20 13a8 8 0 0 1-14 5l-2-2M4 21v-5h5",
  sync: "M4 11a8 8 0 0 1 14-5l2 2M20 3v5h-5M20 13a8 8 0 0 1-14 5l-2-2M4 21v-5h5",
  queue: "M8 6h13M8 12h13M8 18h13M3 6h.01M3 12h.01M3 18h.01",
  history: "M3 12a9 9 0 1 0 3-6.7L3 8M3 3v5h5M12 7v5l3 2",
  pendencies: "M12 8v5M12 17h.01M10.3 3.9 1.8 18.2A2 2 0 0 0 3.5 21h17a2 2 0 0 0 1.7-2.8L13.7 3.9a2 2 0 0 0-3.4 0",
  network: "M9 3h6v5H9zM3 16h6v5H3zM15 16h6v5h-6zM12 8v4M6 16v-4h12v4",
};

/** A drawing that says nothing of its own: words stand beside it. */
export function icon(name, kind = "icon") {
  return svg("svg", { class: kind, viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

export function heading(text) {
  return h("h1", { tabindex: "-1" }, text);
}

export function severity(code) {
  return h("span", { class: `badge severity-${code}` }, words.named("severity", code));
}

export function badge(kind, text) {
  return h("span", { class: `badge ${kind}` }, text);
}

/** A dot whose colour has a meaning, and the words that say the same. */
export function dotted(kind, text) {
  return h("span", { class: `dotted ${kind}` }, h("span", { class: "dot", "aria-hidden": "true" }), h("span", {}, text));
}

/** A button that changes something: none for a reader, idle while the node does not answer. */
export function action(context, label, act, { kind = "", name = null, key = null } = {}) {
  if (!context.mayAct) return null;
  return h(
    "button",
    {
      type: "button",
      class: `button ${kind}`,
      "aria-disabled": context.lost ? "true" : null,
      "aria-label": name,
      "data-key": key,
      onclick: () => (context.lost ? null : act()),
    },
    label,
  );
}

/** "há 3 minutos", which goes on counting. */
export function ago(atMs) {
  return h("time", { "data-ago": atMs, title: words.moment(atMs), datetime: new Date(atMs).toISOString() }, words.ago(atMs));
}

/** "4:32", which goes on counting down. */
export function countdown(untilMs) {
  const left = (untilMs - words.now()) / 1000;
  return h("span", { class: "figures", "data-until": untilMs }, words.countdown(left));
}

/** A text with elements in the places of its {names}. */
export function phrase(key, places) {
  return words
    .t(key)
    .split(/(\{\w+\})/)
    .map((part) => (part.startsWith("{") ? places[part.slice(1, -1)] : part));
}

export function progress(percent, label) {
  return h("progress", { max: 100, value: percent ?? 0, "aria-label": label });
}

/** Named facts, one below the other. */
export function facts(rows) {
  return h(
    "dl",
    { class: "facts" },
    rows.filter(Boolean).map(([name, ...value]) => h("div", {}, h("dt", {}, name), h("dd", {}, ...value))),
  );
}

export function section(title, ...body) {
  return h("section", { class: "section" }, h("h2", {}, title), ...body);
}

/** Links to the next page and back to the first. */
export function pager(params, after, to) {
  if (!after && !params.after) return null;
  return h(
    "p",
    { class: "pager" },
    params.after && h("a", { class: "button", href: to(null) }, words.t("page_first")),
    after && h("a", { class: "button", href: to(after) }, words.t("page_next")),
  );
}

/** The address of a screen. */
export function address(screen, part = null, parameters = {}) {
  const chosen = Object.entries(parameters).filter(([, value]) => value);
  const query = new URLSearchParams(chosen).toString();
  const path = part === null ? `#/${screen}` : `#/${screen}/${encodeURIComponent(part)}`;
  return query ? `${path}?${query}` : path;
}
