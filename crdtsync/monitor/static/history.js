// Histórico de sincronizações: today and the last three days.

import { get } from "./api.js";
import { h, svg } from "./dom.js";
import { address, dotted, heading, pager } from "./parts.js";
import { arrow } from "./queue.js";
import * as words from "./words.js";

const { t, n } = words;
const DAYS = 4;
const HOURS = 24;
const KINDS = { running: "moving", done: "good", failed: "trouble", paused: "waiting", interrupted: "trouble" };

export function load({ params }) {
  return get("/api/history", { days: DAYS, after: params.after });
}

export function view(page, context) {
  const { params } = context.place;
  return [
    heading(t("screen.history")),
    h("p", { class: "quiet" }, t("history.intro")),
    page.runs.length === 0 ? h("p", { class: "empty" }, t("history.empty")) : [chart(page), days(page)],
    pager(params, page.after ?? page.before, (after) => address("history", null, { after })),
  ];
}

function days(page) {
  const found = Map.groupBy ? Map.groupBy(page.runs, (run) => run.day) : grouped(page.runs);
  return [...found].map(([day, runs]) =>
    h(
      "section",
      { class: "section", "data-key": day },
      h("h2", {}, words.day(day, page.today)),
      h("ul", { class: "list panel" }, runs.map((run) => h("li", { "data-key": `run-${run.id}` }, row(run)))),
    ),
  );
}

function grouped(runs) {
  const found = new Map();
  for (const run of runs) found.set(run.day, [...(found.get(run.day) ?? []), run]);
  return found;
}

function row(run) {
  const seconds = run.seconds === null ? "" : words.took(run.seconds);
  return h(
    "details",
    { class: "run-row" },
    h(
      "summary",
      {},
      h("span", { class: "figures" }, words.clock(run.started_ms)),
      h("span", { class: "what" }, words.named("trigger", run.trigger)),
      h("span", { class: "figures" }, amount("download", run.records_down), " ", amount("upload", run.records_up)),
      h("span", { class: "figures took" }, seconds),
      dotted(KINDS[run.result] ?? "neutral", words.named("result", run.result)),
    ),
    h("div", { class: "inside" }, reasons(run), run.categories.length ? table(run) : h("p", { class: "quiet" }, t("history.nothing"))),
  );
}

function amount(direction, records) {
  const said = t(direction === "download" ? "history.down" : "history.up");
  return h(
    "span",
    { class: records ? "amount" : "amount quiet" },
    h("span", { "aria-hidden": "true" }, arrow(direction), " "),
    words.count(records),
    h("span", { class: "hidden" }, ` ${said}`),
  );
}

function reasons(run) {
  const said = [
    run.detail,
    run.gathered > 1 ? n("history.gathered", run.gathered) : null,
    run.pendencies_opened > 0 ? n("history.opened", run.pendencies_opened) : null,
    run.pendencies_closed > 0 ? n("history.closed", run.pendencies_closed) : null,
  ].filter(Boolean);
  return said.map((text) => h("p", {}, words.sentence(text)));
}

function table(run) {
  const names = ["history.category", "history.direction", "history.records", "history.bytes", "history.duration"].map((key) => t(key));
  return h(
    "table",
    { class: "table stacked" },
    h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))),
    h(
      "tbody",
      {},
      run.categories.map((part) =>
        h(
          "tr",
          {},
          [
            part.title,
            `${arrow(part.direction)} ${t(`direction.${part.direction}`)}`,
            words.count(part.records),
            words.size(part.bytes),
            words.took(part.seconds),
          ].map((cell, at) => h("td", { "data-name": names[at], class: at > 1 ? "figures" : null }, cell)),
        ),
      ),
    ),
  );
}

// -- records per hour ---------------------------------------------------------------------------------------

const BAR = 8;
const GAP = 2;
const HEIGHT = 96;

function chart(page) {
  const bars = perHour(page);
  const most = bars.reduce((best, bar) => (bar.records > best.records ? bar : best), bars[0]);
  const total = bars.reduce((sum, bar) => sum + bar.records, 0);
  if (total === 0) return null;
  const when = (bar) => t("history.chart_hour", { day: words.day(bar.day, page.today), hour: `${bar.hour} h` });
  const said = t("history.chart_text", { records: n("records", total), when: words.inside(when(most)), most: n("records", most.records) });
  const width = bars.length * (BAR + GAP);
  return h(
    "figure",
    { class: "chart" },
    h("figcaption", { class: "row" }, h("strong", {}, t("history.chart")), h("span", { class: "quiet small" }, said)),
    svg(
      "svg",
      { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": said, preserveAspectRatio: "none" },
      [0, 0.5].map((part) => svg("line", { class: "rule", x1: 0, x2: width, y1: part * HEIGHT + 0.5, y2: part * HEIGHT + 0.5 })),
      bars.map((bar, at) => {
        const height = bar.records ? Math.max(2, (HEIGHT * bar.records) / most.records) : 1;
        const place = { x: at * (BAR + GAP), y: HEIGHT - height, width: BAR, height };
        return svg("rect", { class: bar.records ? "bar" : "bar none", ...place }, bar.records ? svg("title", {}, `${when(bar)}: ${n("records", bar.records)}`) : null);
      }),
    ),
    h("div", { class: "chart-days", "aria-hidden": "true" }, daysOf(page).map((day) => h("span", {}, words.shortDay(day, page.today)))),
    h(
      "details",
      {},
      h("summary", { class: "small" }, t("history.chart_table")),
      h(
        "table",
        { class: "table" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("history.hour")), h("th", { scope: "col" }, t("history.records")))),
        h(
          "tbody",
          {},
          bars.filter((bar) => bar.records).map((bar) => h("tr", {}, h("td", {}, when(bar)), h("td", { class: "figures" }, words.count(bar.records)))),
        ),
      ),
    ),
  );
}

function daysOf(page) {
  const last = Date.parse(page.today);
  return Array.from({ length: DAYS }, (_, at) => new Date(last - (DAYS - 1 - at) * 86_400_000).toISOString().slice(0, 10));
}

function perHour(page) {
  const bars = daysOf(page).flatMap((day) => Array.from({ length: HOURS }, (_, hour) => ({ day, hour, records: 0 })));
  const places = new Map(bars.map((bar) => [`${bar.day} ${bar.hour}`, bar]));
  for (const [atMs, records] of page.hours) {
    const bar = places.get(`${words.dayOf(atMs)} ${words.hourOf(atMs)}`);
    if (bar) bar.records += records;
  }
  return bars;
}
