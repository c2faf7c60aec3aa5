// Rede: the nodes that synchronize with this one, in pages, trouble first.

import { get } from "./api.js";
import { ask } from "./ask.js";
import { h } from "./dom.js";
import { action, address, ago, dotted, heading, pager } from "./parts.js";
import * as words from "./words.js";

const { t, n } = words;
const ROWS = 50;
const WORST = "worst";
/** What is more is worse: the greatest come first. */
const GREATEST_FIRST = ["waiting", "pendencies", "offset"];
const SORTS = [WORST, "name", "store", "heard", "waiting", "oldest", "pendencies", "version", "offset"];
const KINDS = { silent: "trouble", failing: "trouble", paused: "waiting", apart: "waiting", connected: "good", revoked: "" };
const CLOCK_WRONG_MS = 120_000;

export function load({ params }) {
  const { name, state, after } = params;
  const sort = SORTS.includes(params.sort) ? params.sort : WORST;
  return get("/api/network", { sort, descending: isDescending(params), name, state: state in KINDS ? state : null, after, limit: ROWS });
}

function isDescending({ sort, reverse }) {
  return GREATEST_FIRST.includes(sort) !== Boolean(reverse);
}

export function view(network, context) {
  const { params } = context.place;
  const filtered = Boolean(params.name || params.state);
  const everyone = Object.values(network.counts).reduce((sum, count) => sum + count, 0);
  if (everyone === 0 && !filtered) return [heading(t("screen.network")), h("p", { class: "empty" }, t("network.empty"))];
  return [
    heading(t("screen.network")),
    h("p", { class: "quiet" }, t("network.intro")),
    counts(network, params),
    filters(params, context),
    h("p", { class: "quiet", role: "status" }, n("network.total", network.total)),
    network.below.length === 0 ? h("p", { class: "empty" }, t("network.none_here")) : table(network, context),
    pager(params, network.after, (after) => address("network", null, { ...params, after })),
  ];
}

// -- which of them ------------------------------------------------------------------------------------------

function counts(network, params) {
  return h(
    "ul",
    { class: "badges" },
    Object.entries(KINDS)
      .filter(([state]) => network.counts[state] > 0 || params.state === state)
      .map(([state, kind]) =>
        h(
          "li",
          { "data-key": state },
          h(
            "a",
            {
              href: address("network", null, { ...params, state: params.state === state ? null : state, after: null }),
              "aria-current": params.state === state ? "true" : null,
            },
            dotted(kind, words.named("standing", state)),
            h("span", { class: "figures" }, words.count(network.counts[state])),
          ),
        ),
      ),
  );
}

function filters(params, context) {
  // What is chosen now, not when this was drawn: a person may be quicker than the node.
  const choose = (chosen) => context.go(address("network", null, { ...context.place.params, ...chosen, after: null }));
  const name = h("input", {
    id: "network-name",
    type: "search",
    value: params.name ?? "",
    spellcheck: "false",
    autocomplete: "off",
    onchange: (event) => choose({ name: event.target.value.trim() }),
  });
  return h(
    "form",
    { class: "filters", "aria-label": t("list.filters"), onsubmit: (event) => event.preventDefault() },
    h("div", { class: "field", "data-key": "name" }, h("label", { for: "network-name" }, t("network.name")), name),
    h(
      "div",
      { class: "field", "data-key": "sort" },
      h("label", { for: "network-sort" }, t("network.order")),
      h(
        "select",
        { id: "network-sort", onchange: (event) => choose({ sort: event.target.value, reverse: null }) },
        SORTS.map((sort) => h("option", { value: sort, selected: sort === (params.sort ?? WORST) }, t(`network.by_${sort}`))),
      ),
    ),
    (params.name || params.state) && h("a", { class: "button plain", href: address("network") }, t("list.clear")),
  );
}

// -- the table; on a phone each row is a card ---------------------------------------------------------------

const COLUMNS = [
  ["name", "network.device"],
  [WORST, "network.situation"],
  ["heard", "network.heard"],
  ["waiting", "network.waiting"],
  ["pendencies", "network.pendencies"],
  ["offset", "network.clock"],
];

function table(network, context) {
  const { params } = context.place;
  const mayAct = context.mayAct;
  return h(
    "table",
    { class: "table stacked fleet" },
    h("caption", { class: "hidden" }, t("screen.network")),
    h(
      "thead",
      {},
      h("tr", {}, COLUMNS.map((column) => header(column, params)), mayAct && h("td", {})),
    ),
    h("tbody", {}, network.below.map((one) => row(one, network, context))),
  );
}

function header([sort, label], params) {
  const chosen = (params.sort ?? WORST) === sort;
  const reverse = chosen && !params.reverse ? "1" : null;
  return h(
    "th",
    { scope: "col", "data-key": sort, "aria-sort": chosen ? (isDescending(params) ? "descending" : "ascending") : null },
    h("a", { class: "sort", href: address("network", null, { ...params, sort, reverse, after: null }) }, t(label)),
  );
}

function row(one, network, context) {
  const cells = [situation(one), heard(one), waiting(one), open(one), clock(one)];
  return h(
    "tr",
    { "data-key": one.device },
    h("th", { scope: "row" }, h("span", { class: "title" }, one.device), who(one), lanes(one)),
    cells.map((cell, at) => h("td", { "data-name": t(COLUMNS[at + 1][1]) }, cell)),
    context.mayAct && h("td", { class: "acts" }, acts(one, context)),
  );
}

function who(one) {
  const store = one.store !== one.device && one.store;
  const said = [one.role && words.named("role", one.role), store, version(one)].filter(Boolean).join(" · ");
  return said && h("span", { class: "quiet" }, said);
}

function lanes(one) {
  if (one.lanes.length === 0) return null;
  return h(
    "details",
    {},
    h("summary", { class: "quiet" }, n("network.lanes", one.lanes.length)),
    h(
      "ul",
      {},
      one.lanes.map((lane) =>
        h("li", {}, lane.device, h("span", { class: "quiet" }, ...newest(lane))),
      ),
    ),
  );
}

function newest(lane) {
  return lane.newest_ms === null ? [t("network.lane_unknown")] : [t("network.lane_newest"), " ", ago(lane.newest_ms)];
}

function situation(one) {
  if (one.percent !== null) return dotted("moving", t("network.running", { percent: words.percent(one.percent) }));
  return [
    dotted(KINDS[one.state], words.named("standing", one.state)),
    one.trouble && h("span", { class: "quiet" }, one.trouble),
    one.paused_ms !== null && h("span", { class: "quiet" }, t("network.paused_since", { time: words.moment(one.paused_ms) })),
  ];
}

function heard(one) {
  return one.heard_ms === null ? t("network.never") : ago(one.heard_ms);
}

function waiting(one) {
  // Counted before this program started, nothing waited then: since, records may have come.
  if (!one.waiting) return h("span", { class: "quiet" }, t(one.waiting_exact ? "network.nothing" : "network.unknown"));
  const records = words.count(one.waiting);
  return [
    h("span", { class: "figures" }, one.waiting_exact ? n("records", one.waiting) : t("network.at_least", { records })),
    one.waiting_since_ms !== null && h("span", { class: "quiet" }, t("network.oldest"), " ", ago(one.waiting_since_ms)),
  ];
}

function open(one) {
  return h("span", { class: one.pendencies ? "figures" : "figures quiet" }, words.count(one.pendencies));
}

function version(one) {
  // Every node runs the same program: its number tells them apart.
  return one.software && one.software.replace(/^crdtsync /, "");
}

function clock(one) {
  if (one.offset_ms === null) return "";
  const seconds = Math.abs(one.offset_ms) / 1000;
  if (seconds < 1) return h("span", { class: "quiet" }, t("network.clock_right"));
  const said = t(one.offset_ms > 0 ? "network.clock_ahead" : "network.clock_behind", { span: words.countdown(seconds) });
  return seconds * 1000 > CLOCK_WRONG_MS ? dotted("waiting", said) : h("span", { class: "quiet" }, said);
}

function acts(one, context) {
  const { device } = one;
  if (one.state === "revoked") return [];
  const paused = one.paused_ms !== null;
  const path = paused ? "/api/network/resume" : "/api/network/pause";
  const label = t(paused ? "network.resume" : "network.pause");
  const act = () =>
    context.act(path, { device }, (answer) => t(answer.paused ? "network.paused_now" : "network.resumed_now", { device }));
  return [
    action(context, label, act, { kind: "small", name: `${label}: ${device}`, key: "pause" }),
    action(context, t("network.revoke"), () => revoke(device, context), { kind: "small", name: `${t("network.revoke")}: ${device}`, key: "revoke" }),
  ];
}

function revoke(device, context) {
  ask({
    title: t("network.revoke_title", { device }),
    text: t("network.revoke_text"),
    fields: [],
    label: t("network.revoke"),
    send: () => context.act("/api/network/revoke", { device }, () => t("network.revoked", { device })),
  });
}
