// What a person reads: texts of the chosen language, numbers, dates of the node's time zone.

import { language, useLanguage } from "./api.js";

const CATALOGUES = { "pt-BR": () => import("./texts.pt-BR.js"), en: () => import("./texts.en.js") };

let texts = (await CATALOGUES[language]()).default;
let zone = "America/Sao_Paulo";
let offset = { seconds: 0, from_ms: 0, until_ms: 0 };
let ahead = 0;
const formatters = new Map();

const two = (number) => String(number).padStart(2, "0");

/**
 * How each language writes what every screen shows. The browser could do all of it, but it reads its tables of a language
 * first, which takes it longer than all the rest of the first view; it does what few screens need.
 */
const WRITING = {
  "pt-BR": {
    isOne: (number) => number < 2,
    thousands: ".",
    date: (at) => `${two(at.getUTCDate())}/${two(at.getUTCMonth() + 1)}/${at.getUTCFullYear()}`,
  },
  en: {
    isOne: (number) => number === 1,
    thousands: ",",
    date: (at) => `${at.getUTCMonth() + 1}/${at.getUTCDate()}/${two(at.getUTCFullYear() % 100)}`,
  },
};

/** A formatter of the browser, made once: making one takes longer than all that a screen does with it. */
function made(Kind, locale, options = {}) {
  const key = `${Kind.name} ${locale} ${JSON.stringify(options)}`;
  if (!formatters.has(key)) formatters.set(key, new Kind(locale, options));
  return formatters.get(key);
}

export function currentLanguage() {
  return language;
}

export function otherLanguage() {
  return language === "en" ? "pt-BR" : "en";
}

export async function chooseLanguage(chosen) {
  texts = (await CATALOGUES[chosen]()).default;
  useLanguage(chosen);
}

/** Use the node's clock, not that of the machine that shows the page. */
export function useClock(nowMs) {
  ahead = nowMs - Date.now();
}

/** Use the node's time zone too; `utcOffset` is what it is from UTC, and between which moments the node knows it to stay so. */
export function useZone(timeZone, utcOffset) {
  zone = timeZone;
  offset = utcOffset;
}

export function now() {
  return Date.now() + ahead;
}

/** The text of a key, with `{names}` filled in; the key itself when no catalogue has it. */
export function t(key, values = {}) {
  return filled(texts[key] ?? key, values);
}

/** The text for a number. */
export function n(key, number, values = {}) {
  const forms = texts[key];
  const form = WRITING[language].isOne(number) ? forms.one : forms.other;
  return filled(form, { n: count(number), ...values });
}

/** What a table of the catalogue says of a code; the code itself when it says nothing. */
export function named(table, code) {
  return code === null || code === undefined ? "" : (texts[`${table}.${code}`] ?? String(code));
}

function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export function sentence(text) {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** A text as it is written inside a sentence: "produtos", but "CFOP". */
export function inside(text) {
  const start = text.slice(0, 2);
  return start === start.toUpperCase() ? text : text.slice(0, 1).toLowerCase() + text.slice(1);
}

export function listed(titles) {
  return made(Intl.ListFormat, language, { type: "conjunction" }).format(titles.map(inside));
}

/** A whole number, not negative. */
export function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, WRITING[language].thousands);
}

/** An exact decimal, given as text, in the writing of the language. */
export function decimal(text, places) {
  return made(Intl.NumberFormat, language, { minimumFractionDigits: places, maximumFractionDigits: 6 }).format(text);
}

/** An amount in reais: "R$ 19,90". */
export function money(text) {
  return made(Intl.NumberFormat, language, { style: "currency", currency: "BRL", maximumFractionDigits: 6 }).format(text);
}

/** A CPF or CNPJ with its mask; another text as it is. */
export function taxId(text) {
  if (/^\d{11}$/.test(text)) return text.replace(/(...)(...)(...)(..)/, "$1.$2.$3-$4");
  if (/^[0-9A-Z]{14}$/.test(text)) return text.replace(/(..)(...)(...)(....)(..)/, "$1.$2.$3/$4-$5");
  return text;
}

export function percent(number) {
  return `${Math.round(number)}%`;
}

export function size(bytes) {
  const [unit, one] = bytes >= 1e6 ? ["MB", 1e6] : bytes >= 1e3 ? ["kB", 1e3] : ["B", 1];
  return `${made(Intl.NumberFormat, language, { maximumFractionDigits: 1 }).format(bytes / one)} ${unit}`;
}

export function clock(atMs) {
  const at = local(atMs);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
}

/** The time alone when it is today, else with the date. */
export function moment(atMs, withDate = false) {
  if (!withDate && dayOf(atMs) === dayOf(now())) return clock(atMs);
  return `${WRITING[language].date(local(atMs))}, ${clock(atMs)}`;
}

/** A calendar day, given as ISO text. */
export function date(text) {
  return made(Intl.DateTimeFormat, language, { timeZone: "UTC", dateStyle: "short" }).format(Date.parse(text));
}

/** The day of a moment in the node's time zone, as ISO text. */
export function dayOf(atMs) {
  return local(atMs).toISOString().slice(0, 10);
}

export function hourOf(atMs) {
  return local(atMs).getUTCHours();
}

/** A date whose UTC is what the clocks beside the node show. */
function local(atMs) {
  const seconds = atMs >= offset.from_ms && atMs < offset.until_ms ? offset.seconds : secondsAhead(atMs);
  return new Date(atMs + seconds * 1000);
}

/** How far the node's time zone is ahead of UTC at a moment far from now, asked of the browser. */
function secondsAhead(atMs) {
  const fields = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" };
  const parts = made(Intl.DateTimeFormat, "en-GB", { timeZone: zone, hourCycle: "h23", ...fields }).formatToParts(atMs);
  const { year, month, day: date, hour, minute, second } = Object.fromEntries(parts.map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(year, month - 1, date, hour, minute, second) / 1000 - Math.floor(atMs / 1000);
}

/** A day, given as ISO text, as people say it. */
export function day(text, today) {
  const days = Math.round((Date.parse(today) - Date.parse(text)) / 86_400_000);
  if (days === 0) return t("today");
  if (days === 1) return t("yesterday");
  return sentence(
    made(Intl.DateTimeFormat, language, { timeZone: "UTC", weekday: "long", day: "numeric", month: "long" }).format(
      Date.parse(text),
    ),
  );
}

/** The same in a word, for where there is little room. */
export function shortDay(text, today) {
  return text === today
    ? t("today")
    : made(Intl.DateTimeFormat, language, { timeZone: "UTC", weekday: "short", day: "numeric" }).format(Date.parse(text));
}

/** How long ago: "há 3 minutos". */
export function ago(atMs) {
  const seconds = Math.max(0, (now() - atMs) / 1000);
  if (seconds < 10) return t("just_now");
  const [unit, one] = [
    ["day", 86_400],
    ["hour", 3_600],
    ["minute", 60],
    ["second", 1],
  ].find(([, length]) => seconds >= length);
  return n(`ago.${unit}`, Math.floor(seconds / one));
}

/** Minutes and seconds, or hours, minutes and seconds: 4:32, 1:02:03. */
export function countdown(seconds) {
  const left = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(left / 3600), Math.floor(left / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(left % 60)}` : `${minutes}:${two(left % 60)}`;
}

/** How long something took, in few letters: "0,4 s", "3 min 20 s". */
export function took(seconds) {
  const unit = (number, name) =>
    made(Intl.NumberFormat, language, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: seconds < 10 ? 1 : 0 }).format(number);
  if (seconds < 0.1) return `< ${unit(0.1, "second")}`;
  if (seconds < 60) return unit(seconds, "second");
  const whole = Math.round(seconds);
  return [unit(Math.floor(whole / 60), "minute"), whole % 60 ? unit(whole % 60, "second") : ""].filter(Boolean).join(" ");
}
