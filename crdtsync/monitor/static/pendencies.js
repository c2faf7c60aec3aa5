// Pendências: the list, with filters and pages; the gravest first.

import { get } from "./api.js";
import { catalogue } from "./catalogue.js";
import { h } from "./dom.js";
import { address, ago, badge, heading, pager, severity } from "./parts.js";
import * as words from "./words.js";

const { t, n } = words;
const ROWS = 25;
const SEVERITIES = ["B", "A", "M", "I"];
const OWNERS = ["gestao", "loja", "caixa"];
const FILTERS = ["severity", "category", "older_hours", "owner", "status", "rule"];
const AGES = [24, 72, 168];

export async function load({ params }) {
  const chosen = Object.fromEntries(FILTERS.map((name) => [name, params[name]]));
  const [page, categories] = await Promise.all([
    get("/api/pendencies", { ...chosen, after: params.after, limit: ROWS }),
    catalogue(),
  ]);
  return { ...page, categories };
}

export function view(page, context) {
  const { params } = context.place;
  const filtered = FILTERS.some((name) => params[name]);
  return [
    heading(t("screen.pendencies")),
    counts(page, params),
    filters(page, params, context),
    page.total === 0
      ? h("p", { class: "empty", role: "status" }, t(filtered ? "list.none_here" : "list.none"))
      : h("p", { class: "quiet", role: "status" }, n(filtered ? "list.total" : "pendencies", page.total)),
    h("ul", { class: "list cards" }, page.pendencies.map(row)),
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
  const categories = [...page.categories.values()].map(({ name, title }) => [name, title]);
  categories.sort(([, one], [, other]) => one.localeCompare(other));
  const choices = [
    ["severity", "list.severity", "list.any", SEVERITIES.map((code) => [code, words.named("severity", code)])],
    ["category", "list.category", "list.any", categories],
    ["older_hours", "list.age", "list.any_age", AGES.map((hours) => [String(hours), n("list.older", hours / 24)])],
    ["owner", "list.owner", "list.any_owner", OWNERS.map((role) => [role, words.named("role", role)])],
    ["status", "list.status", "list.open", [["decided", t("list.decided")], ["all", t("list.all")]]],
  ];
  // What is chosen now, not when this was drawn: a person may be quicker than the node.
  const choose = (name, value) =>
    context.go(address("pendencies", null, { ...context.place.params, [name]: value, after: null }));
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
  const which = [found.category_title, words.named("role", found.owner), found.rule, [...new Set(found.keys)].join(", ")];
  return h(
    "li",
    { "data-key": found.id, class: `edge severity-edge-${found.severity}` },
    h(
      "p",
      { class: "row" },
      h("a", { class: "title", href: address("pendencies", found.id) }, found.title),
      h("span", { class: "line" }, found.status === "decided" && badge("good", t("status.decided")), severity(found.severity)),
    ),
    h("p", {}, found.message),
    h("p", { class: "row quiet small" }, h("span", { class: "key" }, which.join(" · ")), ago(found.opened_ms)),
  );
}
