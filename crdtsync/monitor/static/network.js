// Rede: the nodes that synchronize with this one, trouble first.

import { get } from "./api.js";
import { h } from "./dom.js";
import { ago, dotted, facts, heading, progress } from "./parts.js";
import * as words from "./words.js";

const { t, n } = words;

export async function load() {
  const [network, told] = await Promise.all([get("/api/network"), get("/api/alerts")]);
  const silent = new Set(told.alerts.filter((one) => one.code === "silent_device").map((one) => one.subject));
  return { ...network, silent };
}

export function view({ below, silent }) {
  const gravity = (one) => (silent.has(one.device) ? 0 : one.connected ? 2 : 1);
  const sorted = [...below].sort(
    (one, other) =>
      gravity(one) - gravity(other) || (other.waiting ?? 0) - (one.waiting ?? 0) || one.device.localeCompare(other.device),
  );
  return [
    heading(t("screen.network")),
    sorted.length === 0
      ? h("p", { class: "empty" }, t("network.empty"))
      : [
          h("p", { class: "quiet" }, t("network.intro")),
          h("ul", { class: "list cards" }, sorted.map((one) => row(one, silent.has(one.device)))),
        ],
  ];
}

function row(one, silent) {
  const who = [one.role && words.named("role", one.role), one.store].filter(Boolean).join(" · ");
  return h(
    "li",
    { "data-key": one.device },
    h("div", { class: "row" }, h("strong", { class: "title" }, one.device), situation(one, silent)),
    who && h("p", { class: "quiet" }, who),
    facts([
      [t("network.heard"), ago(one.heard_ms)],
      [t("network.waiting"), waiting(one)],
    ]),
    one.percent !== null && progress(one.percent, one.device),
  );
}

function situation(one, silent) {
  if (silent) return dotted("trouble", t("network.silent"));
  return one.connected ? dotted("good", t("network.connected")) : dotted("waiting", t("network.apart"));
}

function waiting(one) {
  if (one.waiting === null) return t("network.unknown");
  return one.waiting > 0 ? n("records", one.waiting) : t("network.nothing");
}
