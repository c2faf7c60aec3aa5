// The installed categories, as the node tells them: titles, and what kind of value each field holds.

import { get } from "./api.js";

let asked = null;

/** Ask once; who could not be answered asks again. */
export function catalogue() {
  asked ??= get("/api/categories").then(
    ({ categories }) => new Map(categories.map((one) => [one.name, { ...one, fields: new Map(one.fields.map((field) => [field.name, field])) }])),
    (error) => {
      asked = null;
      throw error;
    },
  );
  return asked;
}
