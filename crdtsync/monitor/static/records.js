// The records of one category that wait, with the cause and whose turn it is.

import { get } from "./api.js";
import { h } from "./dom.js";
import { address, heading, pager } from "./parts.js";
import { arrow } from "./queue.js";
import * as words from "./words.js";

const { t, n } = words;
const ROWS = 50;

export function load({ part, params }) {
  return get(`/api/queue/${encodeURIComponent(part)}`, { after: params.after, limit: ROWS });
}

export function view(page, context) {
  const { part, params } = context.place;
  const entries = context.queue.categories.filter((entry) => entry.category === part);
  const arriving = entries.some((entry) => entry.direction === "download" && entry.records > 0);
  return [
    h("p", {}, h("a", { class: "back", href: address("queue") }, `← ${t("screen.queue")}`)),
    heading(t("queue.records", { category: entries[0]?.title ?? part })),
    page.records.length === 0
      ? h("p", { class: "empty" }, t("queue.no_records"))
      : [h("p", { class: "quiet" }, n("waits", page.total)), table(page.records)],
    arriving && h("p", { class: "quiet" }, t("queue.not_arrived")),
    pager(params, page.after, (after) => address("queue", part, { after })),
  ];
}

function table(records) {
  const names = ["queue.record", "queue.direction", "queue.situation", "queue.turn"].map((key) => t(key));
  return h(
    "table",
    { class: "table stacked" },
    h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))),
    h(
      "tbody",
      {},
      records.map((record) =>
        h(
          "tr",
          { "data-key": `${record.doc}/${record.key}` },
          [
            h("span", { class: "key" }, `${record.doc}/${record.key}`),
            `${arrow(record.direction)} ${t(`direction.${record.direction}`)}`,
            situation(record),
            words.named("turn", record.turn),
          ].map((cell, at) => h("td", { "data-name": names[at] }, cell)),
        ),
      ),
    ),
  );
}

function situation(record) {
  const said = words.named("cause", record.cause);
  return record.detail ? `${said} (${record.detail})` : said;
}
