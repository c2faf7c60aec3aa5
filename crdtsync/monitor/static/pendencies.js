// Pendências: the list, with filters and pages; the gravest first.

import { get } from "./api.js";
import { h } from "./dom.js";
import { address, ago, badge, heading, pager, severity } from "./parts.js";
import * as words from "./words.js";

const { t, n } = words;
const ROWS = 25;
const SEVERITIES = ["B", "A", "M", "I"];
const OWNERS = ["gestao", "loja", "caixa"];
const FILTERS = ["severity", "category", "owner", "status", "rule"];

/** Titles of categories as lists say them: an answer names those of its own rows alone. */
const titles = new Map();

export async function load({ params }) {
  const chosen = Object.fromEntries(FILTERS.map((name) => [name, params[name]]));
  const page = await get("/api/pendencies", { ...chosen, after: params.after, limit: ROWS });
  for (const row of page.pendencies) titles.set(row.category, row.category_title);
  return page;
}

export function view(page, context) {
  const { params } = context.place;
  const filtered = FILTERS.some((name) => params[name]);
  return [
    heading(t("screen.pendencies")),
    counts(page, params),
    filters(page, params, context),
    h("p", { class: "quiet", role: "status" }, filtered ? n("list.total", page.total) : n("pendencies", page.total)),
    page.pendencies.length === 0
      ? h("p", { class: "empty" }, t(filtered ? "list.none_here" : "list.none"))
      : h("ul", { class: "list cards" }, page.pendencies.map(row)),
    pager(params, page.after, (after) => address("pendencies", null, { ...params, after })),
  ];
}

function counts(page, params) {
  const open = page.counts.filter((one) => one.status === "open");
  const of = (code) => open.filter((one) => one.severity === code).reduce((sum, one) => sum + one.count, 0);
  const shown = SEVERITIES.filter((code) => of(code) > 0);
  if (!shown.length) return null;
  return h(
    "ul",
    { class: "badges" },
    shown.map((code) =>
      h(
        "li",
        {},
        h(
          "a",
          {
            class: "bare",
            href: address("pendencies", null, { severity: params.severity === code ? null : code }),
            "aria-current": params.severity === code ? "true" : null,
          },
          severity(code),
          " ",
          h("span", { class: "figures" }, words.count(of(code))),
        ),
      ),
    ),
  );
}

function filters(page, params, context) {
  const categories = [...new Set([...titles.keys(), params.category].filter(Boolean))];
  const choices = [
    ["severity", "list.severity", "list.any", SEVERITIES.map((code) => [code, words.named("severity", code)])],
    ["category", "list.category", "list.any", categories.map((name) => [name, titles.get(name) ?? name])],
    ["owner", "list.owner", "list.any_owner", OWNERS.map((role) => [role, words.named("role", role)])],
    ["status", "list.status", "list.open", [["decided", t("list.decided")], ["all", t("list.all")]]],
  ];
  const choose = (name, value) =>
    context.go(address("pendencies", null, { ...params, [name]: value, after: null }));
  return h(
    "form",
    { class: "filters", "aria-label": t("list.filters") },
    choices.map(([name, label, any, options]) =>
      h(
        "div",
        { class: "field", "data-key": name },
        h("label", { for: `filter-${name}` }, t(label)),
        h(
          "select",
          { id: `filter-${name}`, onchange: (event) => choose(name, event.target.value) },
          [["", t(any)], ...options].map(([value, text]) =>
            h("option", { value, selected: value === (params[name] ?? "") }, text),
          ),
        ),
      ),
    ),
    FILTERS.some((name) => params[name]) && h("a", { class: "button plain", href: address("pendencies") }, t("list.clear")),
  );
}

function row(found) {
  return h(
    "li",
    { "data-key": found.id },
    h(
      "p",
      { class: "row" },
      h("span", { class: "line" }, severity(found.severity), found.status === "decided" && badge("good", t("status.decided"))),
      h("span", { class: "quiet small" }, ago(found.opened_ms)),
    ),
    h("a", { class: "title", href: address("pendencies", found.id) }, found.title),
    h("p", {}, found.message),
    h(
      "p",
      { class: "quiet small" },
      [found.category_title, words.named("role", found.owner), found.rule, [...new Set(found.keys)].join(", ")].join(" · "),
    ),
  );
}
