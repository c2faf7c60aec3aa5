// Values of records as a person reads them. Names of fields are the adapters'; those that the catalogue of texts knows are
// said in the language of the page, others as they are.

import * as words from "./words.js";

const MONEY = new Set(["price", "list_price", "amount", "unit_price", "total", "discount", "interest", "credit_limit", "paid_when_closed"]);
const QUANTITY = new Set(["balance", "quantity"]);
const NUMBER = /^-?\d+(\.\d+)?$/;
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

export function fieldName(name) {
  const said = words.named("field", name);
  return said === name ? name.replaceAll("_", " ") : said;
}

/** Nothing, or something with parts: not among the few facts that say which record it is. */
export function isAside(value) {
  return value === null || value === "" || (typeof value === "object" && Object.keys(value).length === 0);
}

/** A value of a field; `field` is what the node tells of it, null for what is inside of others and for values asked for. */
export function shown(name, value, field = null) {
  if (value === null || value === "") return words.t("empty");
  if (typeof value === "boolean") return words.t(value ? "yes" : "no");
  if (Array.isArray(value)) return value.map((one) => shown(name, one, field?.kind === "set" ? field : null)).join("; ");
  if (typeof value === "object") return Object.entries(value).map(([part, one]) => `${fieldName(part)} ${shown(part, one)}`).join(", ");
  return plain(kindOf(name, value, field), value, name);
}

function kindOf(name, value, field) {
  if (field?.money) return "money";
  if (field) return field.type;
  if (MOMENT.test(value)) return "datetime";
  if (!NUMBER.test(value)) return "text";
  if (MONEY.has(name)) return "money";
  return QUANTITY.has(name) ? "decimal" : "text";
}

function plain(kind, value, name) {
  if (kind === "money") return words.money(value);
  // A decimal point would be read as thousands: -1.000 is one unit, not a thousand.
  if (kind === "decimal") return words.decimal(value, 0);
  if (kind === "datetime") return words.moment(Date.parse(value), true);
  if (kind === "date") return words.date(value);
  if (name === "tax_id") return words.taxId(String(value));
  return String(value);
}
