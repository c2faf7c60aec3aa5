// One question at a time, in a dialog: what an option asks for, the reason, who does it.

import { Refused, Unreachable, get } from "./api.js";
import { h, show } from "./dom.js";
import * as words from "./words.js";

const { t } = words;
const PERSON = "crdtsync.person";
const ROWS = 1000;

const dialog = document.getElementById("ask");

function closeQuestion() {
  dialog.close();
}

/** Who does it, and the PIN of who has one: at the end of every question. */
export async function personFields() {
  const people = await everybody();
  const person = { name: "person", label: t("ask.person"), value: lastPerson() };
  return [
    people.length > 0
      ? { ...person, choices: people.map(({ id, name }) => [id, name]), hint: t("ask.person_hint") }
      : { ...person, hint: t("ask.nobody") },
    { name: "pin", label: t("ask.pin"), hint: t("ask.pin_hint"), kind: "password", optional: true },
  ];
}

/** Who may decide, by name. Nobody when it is not known: then the id is written, and the node says whether it is right. */
async function everybody() {
  const found = [];
  let after = null;
  try {
    do {
      const page = await get("/api/records/people", { after, limit: ROWS });
      found.push(...page.records.map(({ values }) => values).filter(({ active }) => active));
      after = page.after;
    } while (after !== null);
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
    return [];
  }
  return found.sort((one, other) => one.name.localeCompare(other.name));
}

/** Ask for `fields`, then `send` the answers by name; the dialog stays open while what was said is refused. */
export function ask({ title, text, fields, label, send }) {
  const error = h("p", { class: "error", role: "alert" });
  const submit = h("button", { type: "submit", class: "button primary" }, label);
  const form = h(
    "form",
    { novalidate: true, autocomplete: "off" },
    h("h2", { id: "ask-title" }, title),
    text && h("p", { class: "quiet" }, text),
    fields.map(field),
    error,
    h(
      "p",
      { class: "buttons" },
      submit,
      h("button", { type: "button", class: "button", onclick: closeQuestion }, t("cancel")),
    ),
  );
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (submit.disabled || !complete(form, fields)) return;
    const answers = Object.fromEntries(fields.map(({ name }) => [name, answer(form.elements[name])]));
    submit.disabled = true;
    error.textContent = "";
    try {
      await send(answers);
      remember(answers.person);
      closeQuestion();
    } catch (problem) {
      if (problem instanceof Refused) error.textContent = t("not_done", { why: problem.message });
      else if (problem instanceof Unreachable) error.textContent = t("not_reached");
      else throw problem;
      error.scrollIntoView({ block: "center" });
    } finally {
      submit.disabled = false;
    }
  };
  show(dialog, []);
  show(dialog, form);
  // Two quick presses ask one question.
  if (!dialog.open) dialog.showModal();
  form.elements[fields[0].name].focus();
}

function answer(input) {
  return input.type === "checkbox" ? input.checked : input.value.trim();
}

function field({ name, label, hint = "", value = "", kind = "text", optional = false, long = false, choices = null }) {
  if (kind === "checkbox") {
    return h("label", { class: "check" }, h("input", { type: "checkbox", name }), h("span", {}, label));
  }
  const about = { id: `ask-${name}`, name, "aria-describedby": `ask-${name}-hint`, "aria-required": optional ? null : "true" };
  const input = choices ? select(about, choices, value) : long ? h("textarea", { ...about, rows: 3 }) : h("input", { ...about, type: kind, value, spellcheck: "false" });
  return h(
    "div",
    { class: "field" },
    h("label", { for: about.id }, label),
    input,
    h("p", { class: "hint", id: `ask-${name}-hint`, "data-hint": hint }, hint),
  );
}

function select(about, choices, value) {
  const options = [["", t("ask.choose")], ...choices];
  return h("select", about, options.map(([id, text]) => h("option", { value: id, selected: id === value }, text)));
}

function complete(form, fields) {
  let first = null;
  for (const { name, optional, kind } of fields) {
    if (kind === "checkbox") continue;
    const input = form.elements[name];
    const hint = document.getElementById(`ask-${name}-hint`);
    const missing = !optional && !input.value.trim();
    hint.textContent = missing ? t("ask.required") : hint.dataset.hint;
    hint.classList.toggle("error", missing);
    if (missing) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    if (missing) first ??= input;
  }
  first?.focus();
  return first === null;
}

function lastPerson() {
  try {
    return sessionStorage.getItem(PERSON) ?? "";
  } catch {
    return "";
  }
}

function remember(person) {
  try {
    sessionStorage.setItem(PERSON, person);
  } catch {
    // The person writes it again, then.
  }
}
