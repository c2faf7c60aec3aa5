// One pendency in five parts, and what a person may do about it.

import { get, post } from "./api.js";
import { ask, personFields } from "./ask.js";
import { catalogue } from "./catalogue.js";
import { h } from "./dom.js";
import { action, address, ago, badge, facts, heading, section, severity } from "./parts.js";
import { isAside, shown, fieldName } from "./values.js";
import * as words from "./words.js";

const { t, n } = words;
const FIELDS_SHOWN = 6;

export async function load({ part }) {
  const [card, categories] = await Promise.all([get("/api/pendencies/card", { id: part }), catalogue()]);
  return { ...card, categories };
}

export function view(card, context) {
  const [suggestion, ...others] = card.options;
  return [
    h("p", {}, h("a", { class: "back", href: address("pendencies") }, `← ${t("screen.pendencies")}`)),
    h(
      "header",
      { class: "card-head" },
      h("p", { class: "line" }, severity(card.severity), card.status === "decided" && badge("good", t("status.decided"))),
      heading(card.title),
      about(card),
    ),
    section(t("card.happened"), h("p", { class: "happened" }, card.message)),
    section(t("card.records"), h("ul", { class: "list cards" }, card.records.map((one) => record(one, card))), more(card.records_total - card.records.length), waiting(card)),
    section(t("card.effect"), h("p", { class: "effect" }, card.effect || t("card.no_effect"))),
    section(t("card.suggestion"), suggestion ? h("ul", { class: "list panel options" }, option(suggestion, card, context, "primary")) : h("p", {}, t("card.no_suggestion"))),
    section(t("card.others"), others.length ? h("ul", { class: "list panel options" }, others.map((one) => option(one, card, context, ""))) : h("p", { class: "quiet" }, t("card.no_others"))),
    section(
      t("card.acts"),
      card.acts.length > 0 ? h("ol", { class: "list panel" }, card.acts.map((act) => done(act, context))) : h("p", { class: "quiet" }, t("card.no_acts")),
      h(
        "p",
        { class: "buttons" },
        action(context, t("card.note"), () => note(card, context), { kind: "small" }),
        action(context, t("card.seen"), () => see(card, context), { kind: "small" }),
      ),
    ),
    h("p", { class: "quiet small key" }, `${t("list.rule", { rule: card.rule })} · ${card.id}`),
  ];
}

function about(card) {
  const run = card.synchronization;
  const came = [t(`direction.${card.direction}`), run && `${words.named("trigger", run.trigger)}, ${words.moment(run.started_ms)}`];
  return facts([
    [t("card.category"), card.category_title],
    [t("card.owner"), words.named("role", card.owner)],
    [t("card.since"), `${words.moment(card.opened_ms)} (`, ago(card.opened_ms), ")"],
    [t("card.came"), came.filter(Boolean).join(" · ")],
  ]);
}

function more(left) {
  return left > 0 ? h("p", { class: "quiet" }, n("card.more", left)) : null;
}

function waiting(card) {
  if (!card.waiting.length) return null;
  return [
    h("h3", {}, t("card.waiting")),
    h("ul", { class: "list" }, card.waiting.map((one) => h("li", {}, `${one.category_title} ${one.key}`, " ", h("span", { class: "quiet key" }, one.doc)))),
    card.waiting_more && h("p", { class: "quiet" }, t("card.and_more")),
  ];
}

// -- records ------------------------------------------------------------------------------------------------

function record(one, card) {
  const fields = card.categories.get(one.category)?.fields;
  const said = (name, value) => shown(name, value, fields?.get(name));
  const rivals = Object.entries(one.conflicts).filter(([name]) => name in one.values);
  const apart = new Set(rivals.map(([name]) => name));
  const { name: called } = one.values;
  const values = Object.entries(one.values).filter(([name, value]) => value !== one.key && value !== called && !isAside(value) && !apart.has(name));
  const place = one.doc.split("/").slice(1).join(" · ");
  const fact = ([name, value]) => [fieldName(name), said(name, value)];
  return h(
    "li",
    { "data-key": `${one.doc}/${one.key}` },
    h(
      "p",
      { class: "row" },
      h("strong", { class: "title" }, called || `${one.category_title} ${one.key}`, one.deleted && [" ", badge("trouble", t("card.deleted"))]),
      h("span", { class: "quiet small key" }, [called && `${one.category_title} ${one.key}`, place].filter(Boolean).join(" · ")),
    ),
    rivals.length > 0 && concurrent(rivals, said),
    facts(values.slice(0, FIELDS_SHOWN).map(fact)),
    values.length > FIELDS_SHOWN && h("details", {}, h("summary", { class: "small" }, t("card.all_fields")), facts(values.slice(FIELDS_SHOWN).map(fact))),
  );
}

/** Fields with values that were written apart, side by side: A, B, ...; the first is the one that shows. */
function concurrent(rivals, said) {
  const most = Math.max(...rivals.map(([, values]) => values.length));
  const letters = Array.from({ length: most }, (_, at) => String.fromCharCode(65 + at));
  return h(
    "table",
    { class: "table beside" },
    h("caption", {}, t("card.concurrent")),
    h(
      "thead",
      {},
      h("tr", {}, h("th", { scope: "col" }, t("card.field")), letters.map((letter, at) => h("th", { scope: "col" }, letter, at === 0 && [" · ", t("card.shown")]))),
    ),
    h(
      "tbody",
      {},
      rivals.map(([name, values]) =>
        h("tr", {}, h("th", { scope: "row" }, fieldName(name)), letters.map((_, at) => h("td", {}, at < values.length ? said(name, values[at]) : ""))),
      ),
    ),
  );
}

// -- options and acts ---------------------------------------------------------------------------------------

function option(one, card, context, kind) {
  const asks = one.asks.map(fieldName).join(", ");
  const only = (one.by ?? []).map((role) => words.named("role", role)).join(", ");
  const name = t("queue.for", { action: t("card.choose"), category: one.title });
  return h(
    "li",
    { "data-key": one.name },
    h(
      "div",
      {},
      h("p", {}, h("strong", {}, one.title)),
      one.text && h("p", { class: "quiet" }, one.text),
      one.asks.length > 0 && h("p", { class: "quiet small" }, t("card.asks", { names: asks })),
      !one.allowed && h("p", { class: "quiet small" }, t("card.only_at", { names: only })),
    ),
    one.allowed && card.status === "open" && action(context, t("card.choose"), () => resolve(one, card, context), { kind, name }),
  );
}

function done(act, context) {
  const values = Object.entries(act.values).map(([name, value]) => `${fieldName(name)} ${value}`);
  const notes = [act.withdrawn && t("card.withdrawn"), !act.this_episode && t("card.earlier")].filter(Boolean);
  return h(
    "li",
    { "data-key": act.id },
    h("p", {}, h("strong", {}, t(`act.${act.act}`, { name: act.person_name })), " · ", ago(act.at_ms), notes.map((text) => [" ", badge("neutral", text)])),
    (act.option || values.length > 0) && h("p", {}, [act.option_title ?? act.option, ...values].filter(Boolean).join(" · ")),
    act.why && h("p", { class: "quiet" }, `“${act.why}”`),
    act.act === "decisao" && !act.withdrawn && act.this_episode && action(context, t("card.undo"), () => undo(act, context), { kind: "small" }),
  );
}

async function resolve(one, card, context) {
  const others = one.asks.length === 0 ? await alike(card, context) : 0;
  ask({
    title: one.title,
    text: one.text,
    label: t("ask.resolve"),
    fields: [
      ...one.asks.map((name) => ({ name: `value-${name}`, label: words.sentence(fieldName(name)) })),
      { name: "why", label: t("ask.why"), hint: t("ask.why_hint"), long: true },
      others > 0 && { name: "all", label: n("card.all", others, { category: card.category_title }), kind: "checkbox" },
      ...(await personFields()),
    ].filter(Boolean),
    send: async ({ why, person, pin, all, ...asked }) => {
      const values = Object.fromEntries(one.asks.map((name) => [name, asked[`value-${name}`]]));
      const said = { option: one.name, why, values, ...by(person, pin) };
      if (all) await resolveAll(said, card, context);
      else {
        await post("/api/pendencies/resolve", { id: card.id, ...said });
        await after(context, card, t("card.decided", { option: one.title }), t("card.closed", { option: one.title }));
      }
    },
  });
}

/** How many other pendencies of the same rule and category are open. */
async function alike({ rule, category }, context) {
  try {
    return (await get("/api/pendencies", { rule, category, limit: 1 })).total - 1;
  } catch {
    // One can be resolved all the same, and says why when it cannot.
    context.refresh();
    return 0;
  }
}

/** Page by page, as the node answers them. */
async function resolveAll(said, { rule, category }, context) {
  let decided = 0;
  const refused = [];
  let cursor = null;
  do {
    const page = await post("/api/pendencies/resolve", { rule, category, ...said, ...(cursor ? { after: cursor } : {}) });
    decided += page.decisions.length;
    refused.push(...Object.values(page.refused));
    cursor = page.after;
  } while (cursor !== null);
  const told = [n("card.resolved", decided), refused.length > 0 && `${n("card.refused", refused.length)} ${refused[0]}`];
  context.tellNext(told.filter(Boolean).join(" "));
  context.go(address("pendencies"));
}

function by(person, pin) {
  return pin ? { person, pin } : { person };
}

/** Stay on the card while it is there; a rule that holds again has none. */
async function after(context, card, told, closed) {
  try {
    await get("/api/pendencies/card", { id: card.id });
  } catch {
    context.tellNext(closed);
    context.go(address("pendencies"));
    return;
  }
  context.tell(told);
  context.refresh();
}

async function see(card, context) {
  ask({
    title: t("card.seen"),
    text: card.title,
    label: t("card.seen"),
    fields: await personFields(),
    send: async ({ person, pin }) => {
      await post("/api/pendencies/seen", { id: card.id, ...by(person, pin) });
      context.tell(t("card.noted"));
      context.refresh();
    },
  });
}

async function note(card, context) {
  ask({
    title: t("card.note"),
    text: card.title,
    label: t("ask.save"),
    fields: [{ name: "text", label: t("ask.text"), long: true }, ...(await personFields())],
    send: async ({ text, person, pin }) => {
      await post("/api/pendencies/note", { id: card.id, text, ...by(person, pin) });
      context.tell(t("card.noted"));
      context.refresh();
    },
  });
}

async function undo(act, context) {
  ask({
    title: t("ask.undo_title", { option: act.option_title ?? act.option }),
    text: t("ask.undo_text"),
    label: t("ask.undo"),
    fields: [{ name: "why", label: t("ask.why"), hint: t("ask.why_hint"), long: true }, ...(await personFields())],
    send: async ({ why, person, pin }) => {
      await post("/api/pendencies/undo", { decision: act.id, why, ...by(person, pin) });
      context.tell(t("card.undone"));
      context.refresh();
    },
  });
}
