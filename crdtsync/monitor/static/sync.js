// Sincronização: is everything all right, when was the last one, how many pendencies, when is the next.

import { get } from "./api.js";
import { h } from "./dom.js";
import { now, pause, running, total } from "./now.js";
import { action, address, ago, countdown, heading, icon, phrase, progress, section, severity } from "./parts.js";
import * as words from "./words.js";

const { t, n } = words;

export function load() {
  return get("/api/alerts");
}

export function view({ alerts }, context) {
  const { queue, status } = context;
  return [
    heading(t("screen.sync")),
    state(queue, status, context),
    alert(status),
    isInitial(queue) && queue.running ? phases(queue) : null,
    alerts.length > 0 && attention(alerts),
  ];
}

function isInitial(queue) {
  return !queue.initial_done && queue.link.state !== "none";
}

// -- the sentence of state, and what can be done ------------------------------------------------------------

function state(queue, status, context) {
  const { kind, said, more, drawn = kind } = sentence(queue, status);
  const mayPause = ["ok", "crashing"].includes(queue.link.state) && queue.running === null;
  const doing = [now(queue, context, "now"), mayPause && action(context, t("sync.pause"), () => pause(context), { kind: "plain" })].filter(Boolean);
  return h(
    "section",
    { class: `state ${kind}`, "aria-labelledby": "state-title" },
    h(
      "div",
      { class: "state-said" },
      icon(drawn, "icon large"),
      h("div", {}, h("h2", { id: "state-title" }, said), more && h("p", {}, more)),
    ),
    running(queue),
    glance(queue, status),
    doing.length > 0 && h("div", { class: "do" }, doing),
  );
}

function sentence(queue, status) {
  const { link, running: run } = queue;
  if (link.state === "failed") return { kind: "trouble", said: t("sync.failed"), more: link.detail };
  if (status.why === "disk_full") return { kind: "trouble", said: t("sync.disk_full"), more: t("sync.disk_full_more") };
  if (status.why === "store_refused") return { kind: "trouble", said: t("sync.store_refused"), more: status.why_detail };
  if (run !== null) {
    if (isInitial(queue)) return { kind: "moving", said: t("sync.initial"), more: notYet(status) };
    return { kind: "moving", said: t("sync.running"), more: t("sync.background") };
  }
  if (link.state === "paused") return { kind: "waiting", said: t("sync.paused"), more: t("sync.kept") };
  if (link.state === "paused_above") return { kind: "waiting", said: words.sentence(t("link.paused_above")), more: t("sync.kept") };
  if (link.state === "none") return { kind: "good", said: t("sync.top"), more: t("sync.top_more") };
  if (link.state === "crashing") return { kind: "waiting", said: t("sync.apart"), more: t("sync.apart_more") };
  if (link.state === "stopped") return { kind: "waiting", said: words.sentence(t("link.stopped")), more: t("sync.kept") };
  if (!link.connected) return { kind: "waiting", said: t("sync.connecting"), more: t("sync.apart_more") };
  if (isInitial(queue)) return { kind: "waiting", said: t("sync.initial_waits"), more: notYet(status) };
  const left = total(queue);
  const next = left > 0 ? n("sync.next_takes", left) : null;
  if (left > 0 && !queue.categories.every(isOnItsWay)) return { kind: "waiting", said: n("waits", left), more: t("sync.kept") };
  if (isUrgent(status)) return { kind: "waiting", drawn: "pendencies", said: n("sync.good_but", status.pendencies), more: next ?? t("sync.good_more") };
  if (next !== null) return { kind: "good", said: t("sync.in_order"), more: next };
  return { kind: "good", said: t("sync.good"), more: t("sync.good_more") };
}

/** Somebody is to decide. */
function isUrgent({ pendencies_by_severity: by }) {
  return Boolean(by.B || by.A);
}

function notYet(status) {
  return status.why === "initial" ? t("sync.cannot_sell_yet") : null;
}

/** It waits for nothing but its turn. */
function isOnItsWay({ cause, turn, records }) {
  return records === 0 || cause === "schedule" || cause === "running" || (cause === "category" && turn !== "person");
}

function glance(queue, status) {
  const { last, next } = queue;
  const open = status.pendencies;
  const waiting = total(queue);
  const top = queue.link.state === "none";
  return h(
    "dl",
    { class: "tiles" },
    !top && tile("last", t("sync.last"), ...(last === null ? [t("sync.last_none")] : [ago(last.ended_ms), lastMore(last)])),
    tile(
      isUrgent(status) ? "pendencies trouble" : "pendencies",
      t("sync.pendencies"),
      open > 0 ? h("a", { href: address("pendencies") }, n("pendencies", open)) : t("sync.none_open"),
    ),
    !top && queue.running === null && tile("next", t("sync.next"), ...nextCheck(next)),
    top && tile("below", t("sync.below"), h("a", { href: address("network") }, n("connected", status.below.length))),
    !top && tile("waits", t("sync.waiting"), waiting > 0 ? h("a", { href: address("queue") }, n("records", waiting)) : t("sync.nothing_waits")),
  );
}

function tile(kind, name, figure, more = null) {
  return h("div", { class: `tile ${kind}`, "data-key": kind.split(" ")[0] }, h("dt", {}, name), h("dd", {}, figure), more && h("dd", { class: "more" }, more));
}

function lastMore(last) {
  return `${words.moment(last.ended_ms)} · ${words.named("result", last.result)}`;
}

function nextCheck(next) {
  if (next.at_ms === null) {
    const known = next.reason !== null && next.reason !== "unreachable";
    return [known ? words.sentence(words.named("reason", next.reason)) : t("sync.next_open")];
  }
  const told = `${words.named("trigger", next.trigger ?? "routine")}, ${t("at", { time: words.clock(next.at_ms) })}`;
  return [h("span", {}, phrase("sync.next_in", { left: countdown(next.at_ms) })), told];
}

// -- what asks for a person ---------------------------------------------------------------------------------

/** *Alerta* while there is any pendency. */
function alert(status) {
  const { pendencies: open, pendencies_by_severity: by } = status;
  if (!open) return null;
  const present = ["B", "A", "M", "I"].filter((code) => by[code]);
  return h(
    "section",
    { class: `callout ${isUrgent(status) ? "trouble" : "waiting"}`, "aria-labelledby": "alert-title" },
    h("div", { class: "callout-said" }, h("h2", { id: "alert-title" }, icon("trouble"), t("sync.alert")), h("p", {}, n("sync.alert_open", open))),
    h(
      "ul",
      { class: "badges" },
      present.map((code) =>
        h(
          "li",
          {},
          h("a", { href: address("pendencies", null, { severity: code }) }, severity(code), " ", h("span", { class: "figures" }, words.count(by[code]))),
        ),
      ),
    ),
    h("a", { class: "button", href: address("pendencies") }, t("sync.alert_see")),
  );
}

function attention(alerts) {
  return section(
    t("sync.attention"),
    h(
      "ul",
      { class: "list panel" },
      alerts.map((one) =>
        h(
          "li",
          {},
          h("p", { class: "line" }, severity(one.severity), h("strong", {}, words.named("alert", one.code))),
          h("p", { class: "quiet" }, one.subject, one.since_ms !== null && [" · ", ago(one.since_ms)]),
          one.detail && h("p", { class: "quiet" }, one.detail),
        ),
      ),
    ),
  );
}

// -- the initial synchronization ----------------------------------------------------------------------------

function phases(queue) {
  return h(
    "div",
    { class: "phases" },
    ["download", "upload"].map((direction, at) => phase(queue, direction, at + 1)),
  );
}

function phase(queue, direction, number) {
  const entries = queue.categories.filter((entry) => entry.direction === direction);
  const present = queue.running.phase === direction;
  const later = direction === "upload" && queue.running.phase !== "upload";
  return h(
    "section",
    { class: `phase ${present ? "present" : ""}`, "data-key": direction, "aria-labelledby": `phase-${direction}` },
    h("h2", { id: `phase-${direction}` }, h("span", { class: "step", "aria-hidden": "true" }, number), t(`direction.${direction}`)),
    entries.length === 0
      ? h("p", { class: "quiet" }, t(later ? "sync.phase_next" : present ? "sync.phase_empty" : "sync.phase_done"))
      : h("ol", { class: "list" }, entries.map((entry) => part(entry))),
  );
}

function part(entry) {
  const share = entry.percent === null ? "" : words.percent(entry.percent);
  return h(
    "li",
    { "data-key": entry.category },
    h("p", { class: "row" }, h("span", {}, entry.title), h("strong", { class: "figures" }, share)),
    entry.percent !== null && progress(entry.percent, entry.title),
    h("p", { class: "quiet small figures" }, moved(entry)),
  );
}

function moved(entry) {
  if (entry.total === null) return n("records", entry.records);
  return t("sync.of", { moved: words.count(entry.moved), total: words.count(entry.total) });
}
