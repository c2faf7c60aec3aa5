// One question at a time, in a dialog: what an option asks for, the reason, who does it.

import { Refused, Unreachable } from "./api.js";
import { h, show } from "./dom.js";
import * as words from "./words.js";

const { t } = words;
const PERSON = "crdtsync.person";

const dialog = document.getElementById("ask");

export function closeQuestion() {
  if (dialog.open) dialog.close();
}

/** Who does it, and the PIN of who has one: at the end of every question. */
export function personFields() {
  return [
    { name: "person", label: t("ask.person"), hint: t("ask.person_hint"), value: lastPerson() },
    { name: "pin", label: t("ask.pin"), hint: t("ask.pin_hint"), kind: "password", optional: true },
  ];
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
  dialog.showModal();
  form.elements[fields[0].name].focus();
}

function answer(input) {
  return input.type === "checkbox" ? input.checked : input.value.trim();
}

function field({ name, label, hint = "", value = "", kind = "text", optional = false, long = false }) {
  if (kind === "checkbox") {
    return h("label", { class: "check" }, h("input", { type: "checkbox", name }), h("span", {}, label));
  }
  const about = { id: `ask-${name}`, name, "aria-describedby": `ask-${name}-hint`, "aria-required": optional ? null : "true" };
  const input = long ? h("textarea", { ...about, rows: 3 }) : h("input", { ...about, type: kind, value, spellcheck: "false" });
  return h(
    "div",
    { class: "field" },
    h("label", { for: about.id }, label),
    input,
    h("p", { class: "hint", id: `ask-${name}-hint`, "data-hint": hint }, hint),
  );
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
