// What the first view needs of the node, asked for as soon as this file is there and not when the whole page is.

const LANGUAGE = "crdtsync.language";
/** Since the page was opened: who was away from the node for longer asks again. */
const FRESH_MS = 10_000;
const SECONDS_MAX = 20;
const entering = location.pathname === "/enter";

/** What the address says behind the #: only the page ever sees it. */
export const token = (entering && location.hash.slice(1)) || null;
/** The language that was chosen in this browser. */
export const language = remembered();

const asked = new Map();

function remembered() {
  try {
    return localStorage.getItem(LANGUAGE);
  } catch {
    // A browser may forbid it; the page works without.
    return null;
  }
}

export function remember(chosen) {
  try {
    localStorage.setItem(LANGUAGE, chosen);
  } catch {
    // Not remembered, then.
  }
}

/** The answer to what was asked for early, once and soon; nothing for what was not. */
export function early(path) {
  const answer = performance.now() < FRESH_MS ? asked.get(path) : undefined;
  asked.delete(path);
  return answer;
}

/** Ask the node, and no longer than a person would wait. */
export function request(path, options = {}) {
  return fetch(path, { ...options, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(SECONDS_MAX * 1000) });
}

function ask(path, options = {}) {
  const headers = { "Accept-Language": language === "en" ? "en" : "pt-BR", ...options.headers };
  const answer = request(path, { ...options, headers });
  // Who takes the answer hears of a failure; until then nobody does.
  answer.catch(() => {});
  asked.set(path, answer);
  return answer;
}

function askForTheRest(answer) {
  if (!answer.ok) return;
  ask("/api/status");
  ask("/api/queue");
  if (entering || ["", "#/", "#/sync"].includes(location.hash)) ask("/api/alerts");
}

const known = token
  ? ask("/api/enter", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) })
  : ask("/api/me");
known.then(askForTheRest, () => {});
