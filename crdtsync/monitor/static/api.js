// The node's HTTP interface: same origin, the session in a cookie, one token against forged requests.

import { early, request } from "./first.js";
import { currentLanguage } from "./words.js";

let csrf = "";

/** What the node refused: `status`, and what it says about it. */
export class Refused extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

/** The node does not answer. */
export class Unreachable extends Error {}

/** Remember the token that every change must carry. */
export function useToken(token) {
  csrf = token;
}

export async function get(path, parameters = {}) {
  const chosen = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(chosen).toString();
  return ask(query ? `${path}?${query}` : path, {});
}

export async function post(path, body = {}) {
  return ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: JSON.stringify(body),
  });
}

async function ask(path, options) {
  let response;
  let body;
  try {
    const headers = { "Accept-Language": currentLanguage(), ...options.headers };
    response = await (early(path) ?? request(path, { ...options, headers }));
    body = await response.text();
  } catch (error) {
    throw new Unreachable(error.message);
  }
  const said = read(body);
  if (response.ok) return said;
  throw new Refused(response.status, said?.title ?? response.statusText, said?.detail ?? "");
}

function read(body) {
  try {
    return body ? JSON.parse(body) : null;
  } catch {
    return null;
  }
}
