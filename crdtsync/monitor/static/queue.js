// Próximas sincronizações: what waits, by category, in the order in which it goes.

import { h } from "./dom.js";
import { now, running } from "./now.js";
import { action, address, ago, badge, countdown, dotted, heading, phrase, progress } from "./parts.js";
import * as words from "./words.js";

const { t, n } = words;

export async function load() {
  // The page asks for the queue itself, for every screen.
  return {};
}

export function view(_data, context) {
  const { queue } = context;
  return [
    heading(t("screen.queue")),
    h("section", { class: "state small", "aria-label": t("screen.sync") }, running(queue), upcoming(queue), h("div", { class: "do" }, now(queue, context, "now"))),
    queue.categories.length === 0
      ? h("p", { class: "empty" }, t("queue.empty"))
      : [
          h("p", { class: "quiet" }, t("queue.intro")),
          h("ol", { class: "list cards queue" }, queue.categories.map((entry) => row(entry, queue, context))),
        ],
  ];
}

function upcoming({ next, running: run }) {
  if (run !== null || next.at_ms === null) return null;
  return h("p", {}, `${t("sync.next")}: `, h("strong", {}, t("at", { time: words.clock(next.at_ms) })), " (", phrase("sync.next_in", { left: countdown(next.at_ms) }), ")");
}

function row(entry, queue, context) {
  const name = `${entry.category}-${entry.direction}`;
  return h(
    "li",
    { "data-key": name },
    h(
      "div",
      { class: "row" },
      h("a", { class: "title", href: address("queue", entry.category) }, entry.title),
      h("span", { class: "figures" }, n("records", entry.records)),
    ),
    h(
      "p",
      { class: "line" },
      h("span", { class: "quiet" }, `${arrow(entry.direction)} ${t(`direction.${entry.direction}`)}`),
      situation(entry),
      queue.first === entry.category && badge("neutral", t("queue.goes_first")),
    ),
    entry.percent !== null &&
      h("p", { class: "row" }, progress(entry.percent, entry.title), h("span", { class: "figures" }, words.percent(entry.percent))),
    age(entry),
    context.mayAct &&
      h(
        "p",
        { class: "buttons" },
        queue.first === entry.category
          ? button(context, entry, "queue.first_undo", "/api/first", null)
          : button(context, entry, "queue.first", "/api/first", entry.category),
        entry.paused
          ? button(context, entry, "queue.resume", "/api/resume", entry.category)
          : button(context, entry, "queue.pause", "/api/pause", entry.category),
      ),
  );
}

function button(context, entry, label, path, category) {
  const name = t("queue.for", { action: t(label), category: entry.title });
  const act = () => context.act(path, { category }, (answer) => told(path, entry, answer));
  return action(context, t(label), act, { kind: "small", name });
}

function told(path, entry, answer) {
  if (path === "/api/first") {
    if (answer.category === null) return t("queue.first_none");
    if (!answer.before.length) return t("queue.first_done", { category: entry.title });
    return t("queue.first_after", { category: entry.title, names: answer.before.join(", ") });
  }
  if (answer.paused) return t("sync.paused_now");
  return answer.categories.length
    ? t("sync.paused_categories", { names: answer.categories.join(", ") })
    : t("sync.resumed");
}

export function arrow(direction) {
  return direction === "download" ? "↓" : "↑";
}

/** What a category waits for, in the words of the command line. */
function situation(entry) {
  const up = entry.direction === "upload";
  const at = entry.when_ms === null ? "" : `, ${t("at", { time: words.clock(entry.when_ms) })}`;
  if (entry.cause === "running") return dotted("moving", t(up ? "queue.sending" : "queue.receiving"));
  if (entry.cause === "category") {
    return dotted("waiting", t("queue.waits_for", { what: words.listed(entry.waits_for_titles) }) + at);
  }
  if (entry.cause === "schedule") return dotted("neutral", t(up ? "queue.wait_send" : "queue.wait_receive") + at);
  return dotted(entry.cause === "failed" ? "trouble" : "waiting", words.named("cause", entry.cause));
}

function age(entry) {
  const [key, atMs] = entry.direction === "upload" ? ["queue.oldest", entry.since_ms] : ["queue.as_of", entry.as_of_ms];
  if (atMs === null || entry.records === 0) return null;
  const [before, after] = t(key).split("{when}");
  return h("p", { class: "quiet small" }, before, ago(atMs), after);
}
