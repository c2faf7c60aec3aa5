// Values of records as a person reads them. Names of fields are the adapters'; those that the catalogue knows are said
// in the language of the page, others as they are.

import * as words from "./words.js";

const MONEY = new Set(["price", "list_price", "amount", "unit_price", "total", "discount", "interest", "credit_limit", "paid_when_closed"]);
const QUANTITY = new Set(["balance", "quantity"]);
const NUMBER = /^-?\d+(\.\d+)?$/;

export function fieldName(name) {
  const said = words.named("field", name);
  return said === name ? name.replaceAll("_", " ") : said;
}

/** Nothing, or something with parts: not among the few facts that say which record it is. */
export function isAside(value) {
  return value === null || value === "" || (typeof value === "object" && Object.keys(value).length === 0);
}

export function shown(name, value) {
  if (value === null || value === "") return words.t("empty");
  if (typeof value === "boolean") return words.t(value ? "yes" : "no");
  if (Array.isArray(value)) return value.map((one) => shown(name, one)).join("; ");
  if (typeof value === "object") return Object.entries(value).map(([part, one]) => `${fieldName(part)} ${shown(part, one)}`).join(", ");
  // A decimal point would be read as thousands: -1.000 is one unit, not a thousand.
  if (NUMBER.test(value) && MONEY.has(name)) return words.decimal(value, 2);
  if (NUMBER.test(value) && QUANTITY.has(name)) return words.decimal(value, 0);
  return String(value);
}
