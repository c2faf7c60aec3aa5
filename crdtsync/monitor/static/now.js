// Sincronizar agora: when it is allowed; else when it will be, and why. During a run the percentage, and no button.

import { h } from "./dom.js";
import { action, countdown, phrase, progress } from "./parts.js";
import * as words from "./words.js";

const { t } = words;

/** The run that is going on: which phase, how much of it. */
export function running({ running: run }) {
  if (run === null) return null;
  const doing = run.phase ? t(`direction.${run.phase}`) : words.named("trigger", run.trigger);
  return h(
    "div",
    { class: "run" },
    h("p", { class: "row" }, h("span", {}, doing), run.percent !== null && h("strong", { class: "figures" }, words.percent(run.percent))),
    progress(run.percent, t("sync.progress")),
  );
}

/** What a person can do about the link now; `key` tells the places of this apart. */
export function now(queue, context, key) {
  const { link, button: allowed } = queue;
  if (link.state === "none" || queue.running !== null) return null;
  if (link.state === "paused") return action(context, t("sync.resume"), () => resume(context), { kind: "primary", key });
  if (link.state === "failed") return action(context, t("sync.try_again"), () => resume(context), { kind: "primary", key });
  return allowed.available ? action(context, t("sync.now"), () => press(context), { kind: "primary", key }) : refusal(allowed);
}

function refusal(allowed) {
  const why = `${words.named("reason", allowed.reason)}.`;
  return h(
    "p",
    { class: "refusal" },
    allowed.available_ms !== null && h("strong", {}, phrase("sync.available_in", { left: countdown(allowed.available_ms) })),
    h("span", { class: "quiet small" }, `${t("sync.now")}: ${why}`),
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

export function pause(context) {
  return context.act("/api/pause", {}, () => t("sync.paused_now"));
}

function resume(context) {
  return context.act("/api/resume", {}, (answer) =>
    answer.categories.length ? t("sync.paused_categories", { names: answer.categories.join(", ") }) : t("sync.resumed"),
  );
}

export function total(queue) {
  return queue.categories.reduce((sum, entry) => sum + entry.records, 0);
}
