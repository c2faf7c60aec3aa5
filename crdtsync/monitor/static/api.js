// The node's HTTP interface: same origin, the session in a cookie, one token against forged requests. What the first view
// needs is asked for as soon as this file is there, and not when the whole page is; so it imports nothing.

const LANGUAGE = "crdtsync.language";
/** Since the page was opened: who was away from the node for longer asks again. */
const FRESH_MS = 10_000;
const SECONDS_MAX = 20;
const entering = location.pathname === "/enter";

/** What the address says behind the #: only the page ever sees it. */
export const token = (entering && location.hash.slice(1)) || null;
/** In which language the node is to answer: the one that was chosen in this browser. */
export let language = remembered() === "en" ? "en" : "pt-BR";

const asked = new Map();
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

/** Ask the node to answer in another language from now on, and remember that. */
export function useLanguage(chosen) {
  language = chosen;
  try {
    localStorage.setItem(LANGUAGE, chosen);
  } catch {
    // Not remembered, then.
  }
}

function remembered() {
  try {
    return localStorage.getItem(LANGUAGE);
  } catch {
    // A browser may forbid it; the page works without.
    return null;
  }
}

export async function get(path, parameters = {}) {
  const chosen = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(chosen).toString();
  return ask(query ? `${path}?${query}` : path, {});
}

export async function post(path, body = {}) {
  return ask(path, change(body));
}

function change(body) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
  return { method: "POST", headers, body: JSON.stringify(body) };
}

async function ask(path, options) {
  let response;
  let body;
  try {
    response = await (early(path) ?? request(path, options));
    body = await response.text();
  } catch (error) {
    throw new Unreachable(error.message);
  }
  const said = read(body);
  if (response.ok) return said;
  throw new Refused(response.status, said?.title ?? response.statusText, said?.detail ?? "");
}

/** Ask the node, and no longer than a person would wait. */
function request(path, options) {
  const headers = { "Accept-Language": language, ...options.headers };
  return fetch(path, { ...options, headers, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(SECONDS_MAX * 1000) });
}

function read(body) {
  try {
    return body ? JSON.parse(body) : null;
  } catch {
    return null;
  }
}

// -- the first view -----------------------------------------------------------------------------------------

/** The answer to what was asked for early, once and soon; nothing for what was not. */
function early(path) {
  const answer = performance.now() < FRESH_MS ? asked.get(path) : undefined;
  asked.delete(path);
  return answer;
}

function askEarly(path, options = {}) {
  const answer = request(path, options);
  // Who takes the answer hears of a failure; until then nobody does.
  answer.catch(() => {});
  asked.set(path, answer);
  return answer;
}

function askForTheRest(answer) {
  if (!answer.ok) return;
  askEarly("/api/status");
  askEarly("/api/queue");
  if (entering || ["", "#/", "#/sync"].includes(location.hash)) askEarly("/api/alerts");
}

const known = token ? askEarly("/api/enter", change({ token })) : askEarly("/api/me");
known.then(askForTheRest, () => {});
