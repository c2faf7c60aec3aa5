// Sincronização: is everything all right, when was the last one, how many pendencies, when is the next.

import { get } from "./api.js";
import { h } from "./dom.js";
import { action, address, ago, countdown, facts, heading, icon, phrase, progress, section, severity } from "./parts.js";
import * as words from "./words.js";

const { t, n } = words;

export async function load() {
  const [queue, told] = await Promise.all([get("/api/queue"), get("/api/alerts")]);
  return { ...queue, alerts: told.alerts };
}

export function view(queue, context) {
  const { status } = context;
  return [
    heading(t("screen.sync")),
    state(queue, status, context),
    alert(status),
    isInitial(queue) && queue.running ? phases(queue) : null,
    queue.alerts.length > 0 && attention(queue.alerts),
  ];
}

function isInitial(queue) {
  return !queue.initial_done && queue.link.state !== "none";
}

// -- the sentence of state, and what can be done ------------------------------------------------------------

function state(queue, status, context) {
  const { kind, said, more } = sentence(queue, status);
  return h(
    "section",
    { class: `state ${kind}`, "aria-labelledby": "state-title" },
    h(
      "div",
      { class: "state-said" },
      icon(kind, "icon large"),
      h("div", {}, h("h2", { id: "state-title" }, said), more && h("p", {}, more)),
    ),
    running(queue),
    glance(queue, status),
    button(queue, context),
  );
}

function sentence(queue, status) {
  const { link, running: run } = queue;
  if (link.state === "failed") return { kind: "trouble", said: t("sync.failed"), more: link.detail };
  if (status.why === "disk_full") return { kind: "trouble", said: t("sync.disk_full"), more: t("sync.disk_full_more") };
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
  if (left > 0 && !queue.categories.every(isOnItsWay)) return { kind: "waiting", said: n("waits", left), more: t("sync.kept") };
  if (left > 0) return { kind: "good", said: t("sync.in_order"), more: n("sync.next_takes", left) };
  return { kind: "good", said: t("sync.good"), more: t("sync.good_more") };
}

function notYet(status) {
  return status.why === "initial" ? t("sync.cannot_sell_yet") : null;
}

/** It waits for nothing but its turn. */
function isOnItsWay({ cause, turn, records }) {
  return records === 0 || cause === "schedule" || cause === "running" || (cause === "category" && turn !== "person");
}

function total(queue) {
  return queue.categories.reduce((sum, entry) => sum + entry.records, 0);
}

function running({ running: run }) {
  if (run === null) return null;
  const doing = run.phase ? t(`direction.${run.phase}`) : words.named("trigger", run.trigger);
  return h(
    "div",
    { class: "run" },
    progress(run.percent, t("sync.progress")),
    h("p", {}, doing, run.percent !== null && [" · ", h("strong", {}, words.percent(run.percent))]),
  );
}

function glance(queue, status) {
  const { last, next } = queue;
  const open = status.pendencies;
  const waiting = total(queue);
  const top = queue.link.state === "none";
  return facts([
    top ? null : [t("sync.last"), last === null ? t("sync.last_none") : [ago(last.ended_ms), " · ", words.named("result", last.result)]],
    top || queue.running !== null ? null : [t("sync.next"), ...nextCheck(next)],
    [
      t("sync.pendencies"),
      open > 0 ? h("a", { href: address("pendencies") }, n("pendencies", open)) : t("sync.none_open"),
    ],
    top && [t("sync.below"), h("a", { href: address("network") }, n("connected", status.below.length))],
    !top && [
      t("sync.waiting"),
      waiting > 0 ? h("a", { href: address("queue") }, n("records", waiting)) : t("sync.nothing_waits"),
    ],
  ]);
}

function nextCheck(next) {
  if (next.at_ms === null) return [next.reason === null ? t("sync.next_open") : words.named("reason", next.reason)];
  return [
    `${words.named("trigger", next.trigger ?? "routine")}, ${t("at", { time: words.clock(next.at_ms) })} (`,
    phrase("sync.next_in", { left: countdown(next.at_ms) }),
    ")",
  ];
}

/** *Sincronizar agora* when it is allowed; else when it will be, and why. During a run there is none. */
function button(queue, context) {
  const { link, button: allowed } = queue;
  if (link.state === "none") return null;
  if (link.state === "paused") return h("div", { class: "do" }, action(context, t("sync.resume"), () => resume(context), { kind: "primary" }));
  if (link.state === "failed") return h("div", { class: "do" }, action(context, t("sync.try_again"), () => resume(context), { kind: "primary" }));
  if (queue.running !== null) return null;
  return h(
    "div",
    { class: "do" },
    allowed.available
      ? action(context, t("sync.now"), () => press(context), { kind: "primary", key: "now" })
      : refusal(allowed),
    action(context, t("sync.pause"), () => pause(context), { kind: "plain" }),
  );
}

function refusal(allowed) {
  return h(
    "p",
    { class: "refusal" },
    h("strong", {}, t("sync.now")),
    ": ",
    `${words.named("reason", allowed.reason)}.`,
    allowed.available_ms !== null && [" ", phrase("sync.available_in", { left: countdown(allowed.available_ms) }), "."],
  );
}

function press(context) {
  return context.act("/api/sync", {}, (answer) => {
    const said = answer.accepted ? t("sync.asked") : `${words.sentence(words.named("reason", answer.reason))}.`;
    const { above } = answer;
    if (!above) return said;
    const told = above.accepted
      ? t("sync.above_also", above)
      : t("sync.above_said", { device: above.device, reason: words.named("reason", above.reason) });
    return `${said} ${told}`;
  });
}

function pause(context) {
  return context.act("/api/pause", {}, () => t("sync.paused_now"));
}

function resume(context) {
  return context.act("/api/resume", {}, (answer) =>
    answer.categories.length ? t("sync.paused_categories", { names: answer.categories.join(", ") }) : t("sync.resumed"),
  );
}

// -- what asks for a person ---------------------------------------------------------------------------------

/** *Alerta* while there is any pendency. */
function alert({ pendencies: open, pendencies_by_severity: by }) {
  if (!open) return null;
  const present = ["B", "A", "M", "I"].filter((code) => by[code]);
  return h(
    "section",
    { class: `callout ${present.some((code) => code === "B" || code === "A") ? "trouble" : "waiting"}`, "aria-labelledby": "alert-title" },
    h("h2", { id: "alert-title" }, icon("trouble"), t("sync.alert")),
    h("p", { class: "callout-said" }, n("pendencies", open)),
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
      { class: "list" },
      alerts.map((one) =>
        h(
          "li",
          {},
          h("p", {}, severity(one.severity), " ", h("strong", {}, words.named("alert", one.code))),
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
    ["download", "upload"].map((direction) => phase(queue, direction)),
  );
}

function phase(queue, direction) {
  const entries = queue.categories.filter((entry) => entry.direction === direction);
  const present = queue.running.phase === direction;
  const later = direction === "upload" && queue.running.phase !== "upload";
  return section(
    t(`direction.${direction}`),
    entries.length === 0
      ? h("p", { class: "quiet" }, t(later ? "sync.phase_next" : present ? "sync.phase_empty" : "sync.phase_done"))
      : h(
          "ol",
          { class: "list" },
          entries.map((entry) =>
            h(
              "li",
              { "data-key": entry.category },
              h(
                "p",
                { class: "row" },
                h("span", {}, entry.title),
                h("span", { class: "figures" }, moved(entry)),
              ),
              entry.percent !== null && progress(entry.percent, entry.title),
            ),
          ),
        ),
  );
}

function moved(entry) {
  if (entry.total === null) return n("records", entry.records);
  const share = entry.percent === null ? "" : ` · ${words.percent(entry.percent)}`;
  return t("sync.of", { moved: words.count(entry.moved), total: words.count(entry.total) }) + share;
}
