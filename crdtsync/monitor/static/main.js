// The page: who is asking, which screen, and keeping it up to date while the node answers.

import { Refused, Unreachable, get, post, token as shown, useToken } from "./api.js";
import { h, show } from "./dom.js";
import { now as nowButton, running, total } from "./now.js";
import { address, badge, dotted, heading, icon } from "./parts.js";
import * as sync from "./sync.js";
import * as words from "./words.js";

const { t } = words;

const RETRY_MS = 3_000;
const POLL_MS = 10_000;
const TICK_MS = 1_000;
/** An event may come for each record that arrives; a person reads no faster than this. */
const REFRESH_MS = 400;

const SCREENS = ["sync", "queue", "history", "pendencies", "network"];
/** A screen is loaded when it is first opened; the first one is there. */
const VIEWS = {
  sync: () => sync,
  queue: () => import("./queue.js"),
  history: () => import("./history.js"),
  pendencies: () => import("./pendencies.js"),
  network: () => import("./network.js"),
};
const PARTS = { queue: () => import("./records.js"), pendencies: () => import("./card.js") };

const page = {
  me: null,
  status: null,
  queue: null,
  place: null,
  data: null,
  view: null,
  problem: null,
  lostSince: null,
  heardAt: null,
  entry: null,
};
let token = shown;
let retrying = null;
let nextTold = "";
let source = null;
let refreshing = null;
let again = false;

const element = (id) => document.getElementById(id);

// -- who is asking ------------------------------------------------------------------------------------------

async function start() {
  if (location.pathname === "/enter") {
    window.history.replaceState(null, "", "/");
  }
  await identify();
}

/** Show the token; a node that was started again knows no browser, so this page keeps it while it is open. */
async function enter() {
  try {
    return await post("/api/enter", { token });
  } catch (error) {
    if (error instanceof Refused) {
      token = null;
      page.entry = error.message;
    }
    throw error;
  }
}

async function identify() {
  clearTimeout(retrying);
  try {
    page.me = await whoAmI();
  } catch (error) {
    if (error instanceof Refused) {
      page.me = null;
      drawEntry();
    } else {
      lose();
      clearTimeout(retrying);
      retrying = setTimeout(identify, RETRY_MS);
    }
    return;
  }
  page.entry = null;
  useToken(page.me.csrf);
  words.useClock(page.me.now_ms);
  words.useZone(page.me.time_zone, page.me.utc_offset);
  find();
  // Listening brings a first event at once: what it would ask for is asked for here.
  await (page.place === null ? navigate() : refresh());
  listen();
}

async function whoAmI() {
  if (token !== null && page.me === null) return enter();
  try {
    return await get("/api/me");
  } catch (error) {
    if (error instanceof Refused && error.status === 401 && token !== null) return enter();
    throw error;
  }
}

function listen() {
  source?.close();
  source = new EventSource("/api/events");
  source.addEventListener("status", () => {
    page.heardAt = words.now();
    soon();
  });
  source.addEventListener("error", () => {
    // A stream ends now and then; whether the node still answers is another question.
    source.close();
    clearTimeout(retrying);
    retrying = setTimeout(identify, page.lostSince === null ? 0 : RETRY_MS);
  });
}

function lose() {
  if (page.lostSince !== null) return;
  page.lostSince = page.heardAt ?? 0;
  source?.close();
  clearTimeout(retrying);
  retrying = setTimeout(identify, RETRY_MS);
  draw();
}

function find() {
  const wasLost = page.lostSince !== null && page.lostSince > 0;
  page.lostSince = null;
  page.heardAt = words.now();
  if (wasLost) tell(t("page.back"));
}

// -- which screen -------------------------------------------------------------------------------------------

function placeOf(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const [name, part] = path.split("/");
  const screen = screensShown().includes(name) ? name : "sync";
  return { screen, part: part ? decodeURIComponent(part) : null, params: Object.fromEntries(new URLSearchParams(query)) };
}

function screensShown() {
  return SCREENS.filter((name) => name !== "network" || page.me.node_role !== "caixa");
}

async function viewOf(place) {
  const found = place.part !== null && PARTS[place.screen] ? PARTS[place.screen] : VIEWS[place.screen];
  try {
    return await found();
  } catch (error) {
    throw new Unreachable(error.message);
  }
}

async function loadView(place) {
  const module = await viewOf(place);
  return [module, await module.load(place)];
}

async function navigate() {
  if (page.me === null) return;
  const first = page.place === null;
  // Who chooses a filter stays there: only what is listed changes.
  const filters = Boolean(document.activeElement?.closest(".filters"));
  page.place = placeOf(location.hash);
  page.problem = null;
  element("ask").close();
  if (!first) tell(nextTold);
  nextTold = "";
  if (!filters || first) page.data = null;
  const loaded = load();
  if (page.data === null && !first) {
    show(element("screen"), h("p", { class: "quiet" }, t("loading")));
    draw();
  }
  await loaded;
  if (first || filters) return;
  window.scrollTo(0, 0);
  element("screen").querySelector("h1")?.focus();
}

/** Load what the screen shows; one load at a time, and one more when something changed meanwhile. */
function refresh() {
  if (refreshing !== null) {
    again = true;
    return refreshing;
  }
  refreshing = load().finally(() => {
    refreshing = null;
    if (again) {
      again = false;
      soon();
    }
  });
  return refreshing;
}

let wanted = null;

function soon() {
  wanted ??= setTimeout(() => {
    wanted = null;
    refresh();
  }, REFRESH_MS);
}

async function load() {
  if (page.me === null || page.place === null) return;
  const place = page.place;
  try {
    const [status, queue, [module, data]] = await Promise.all([get("/api/status"), get("/api/queue"), loadView(place)]);
    if (place !== page.place) return;
    words.useClock(queue.now_ms);
    Object.assign(page, { status, queue, data, view: module.view, problem: null, heardAt: words.now() });
  } catch (error) {
    if (error instanceof Unreachable) lose();
    else if (error instanceof Refused && error.status === 401) return void identify();
    else if (error instanceof Refused) page.problem = error;
    else throw error;
  }
  draw();
}

// -- what is seen -------------------------------------------------------------------------------------------

const context = {
  get me() {
    return page.me;
  },
  get status() {
    return page.status;
  },
  get queue() {
    return page.queue;
  },
  get place() {
    return page.place;
  },
  get lost() {
    return page.lostSince !== null;
  },
  get mayAct() {
    return page.me.role === "resolver";
  },
  tell,
  /** Say it when the next screen is there. */
  tellNext: (text) => {
    nextTold = text;
  },
  refresh,
  go: (hash) => {
    location.hash = hash;
  },
  /** Do something that changes the node, say what came of it, and show what is so now. */
  async act(path, body, told) {
    try {
      tell(told(await post(path, body)));
    } catch (error) {
      if (error instanceof Unreachable) tell(t("not_reached"), "trouble");
      else if (error instanceof Refused) tell(t("not_done", { why: error.message }), "trouble");
      else throw error;
    }
    await refresh();
  },
};

/** In the menu, which closes when something was asked for. */
const menuContext = Object.create(context, {
  act: {
    value: (...asked) => {
      element("menu").hidePopover();
      return context.act(...asked);
    },
  },
});

function tell(text, kind = "") {
  element("notice").className = `notice ${kind}`;
  show(
    element("notice"),
    text && [
      h("span", {}, text),
      h("button", { type: "button", class: "button plain", onclick: () => tell("") }, t("close")),
    ],
  );
}

function draw() {
  document.documentElement.lang = words.currentLanguage();
  drawBanner();
  if (page.me === null) return;
  drawSkip();
  drawTop();
  drawNav();
  const screen = element("screen");
  const held = document.activeElement;
  screen.classList.toggle("stale", context.lost);
  if (page.problem !== null) show(screen, problem());
  else if (page.data !== null) show(screen, page.view(page.data, context));
  // Who held a button that is gone goes on from the top of the screen, not from nowhere.
  if (held !== null && !held.isConnected) screen.querySelector("h1")?.focus({ preventScroll: true });
  document.title = t("title", { screen: t(`screen.${page.place?.screen ?? "sync"}`), device: page.me.device });
}

function drawSkip() {
  const skip = element("skip");
  skip.textContent = t("skip");
  skip.onclick = (event) => {
    event.preventDefault();
    element("screen").focus();
  };
}

function drawBanner() {
  const since = page.lostSince;
  const said = since === null ? [] : [since ? t("page.lost", { time: words.moment(since) }) : t("page.lost_first"), " ", t("page.lost_retry")];
  show(element("banner"), said.length ? [icon("trouble"), h("p", {}, said)] : []);
}

function drawTop() {
  const { me, status } = page;
  const where = [words.named("role", me.node_role), me.store === me.device ? null : me.store].filter(Boolean).join(" · ");
  show(element("top"), [
    h("p", { class: "node" }, h("strong", {}, me.device), h("span", { class: "quiet" }, where)),
    status && connection(status),
    !context.mayAct && badge("neutral", t("read_only")),
    h(
      "span",
      { class: "tools" },
      me.node_role !== "gestao" &&
        h("button", { type: "button", class: "button small", popovertarget: "menu", "aria-label": t("screen.sync"), "data-key": "menu" }, icon("sync"), h("span", { class: "long" }, t("screen.sync")), icon("down")),
      languageButton(),
    ),
  ]);
  drawMenu();
}

/** The menu *Sincronização*: what can be done about it on every screen. */
function drawMenu() {
  const { queue } = page;
  const menu = element("menu");
  menu.setAttribute("aria-label", t("screen.sync"));
  if (queue === null) return;
  const waiting = total(queue);
  show(menu, [
    running(queue),
    nowButton(queue, menuContext, "menu-now"),
    h("a", { href: address("queue"), onclick: () => menu.hidePopover() }, t("screen.queue"), waiting > 0 && h("span", { class: "quiet figures" }, words.count(waiting))),
    h("a", { href: address("history"), onclick: () => menu.hidePopover() }, t("screen.history")),
  ]);
}

function connection(status) {
  const { state, connected } = status.link;
  const run = page.queue?.running;
  if (context.lost) return dotted("trouble", t("network.apart"));
  if (state === "none") return null;
  if (run) return dotted("moving", [t("short.running"), run.percent === null ? "" : words.percent(run.percent)].join(" "));
  if (state === "ok") return connected ? dotted("good", t("link.ok")) : dotted("waiting", t("link.connecting"));
  return dotted(state === "failed" ? "trouble" : "waiting", words.named("link", state));
}

function languageButton() {
  const other = words.otherLanguage();
  const name = other === "en" ? "English" : "Português";
  return h(
    "button",
    {
      type: "button",
      class: "button plain small language",
      lang: other,
      "aria-label": name,
      "data-key": "language",
      onclick: async () => {
        try {
          await words.chooseLanguage(other);
        } catch {
          // The node does not answer; the banner says so.
          lose();
          return;
        }
        if (page.me === null) return drawEntry();
        draw();
        // What the node itself says comes in the other language too.
        return refresh();
      },
    },
    h("span", { class: "long" }, name),
    h("span", { class: "short", "aria-hidden": "true" }, other.slice(0, 2).toUpperCase()),
  );
}

function drawNav() {
  element("nav").setAttribute("aria-label", t("navigation"));
  const { pendencies: open = 0, pendencies_by_severity: by = {} } = page.status ?? {};
  const urgent = by.B || by.A;
  show(
    element("nav"),
    screensShown().map((name) =>
      h(
        "a",
        {
          href: `#/${name}`,
          "aria-current": page.place?.screen === name ? "page" : null,
          "aria-label": name === "pendencies" ? `${t("screen.pendencies")}: ${words.count(open)}` : t(`screen.${name}`),
          "data-key": name,
        },
        icon(name),
        h("span", { class: "long" }, t(`screen.${name}`)),
        h("span", { class: "short" }, t(`short.${name}`)),
        name === "pendencies" && open > 0 && h("span", { class: `figure ${urgent ? "trouble" : ""}` }, words.count(open)),
      ),
    ),
  );
}

function problem() {
  const gone = page.problem.status === 404;
  return [
    heading(t(gone ? "gone_title" : "failed_title")),
    gone && page.place.screen === "pendencies" && h("p", {}, t("card.gone")),
    h("p", { class: "quiet" }, page.problem.message),
    h(
      "p",
      {},
      gone && page.place.part !== null
        ? h("a", { class: "button", href: `#/${page.place.screen}` }, t("back"))
        : h("button", { type: "button", class: "button", onclick: () => refresh() }, t("retry")),
    ),
  ];
}

function drawEntry() {
  document.documentElement.lang = words.currentLanguage();
  document.title = t("enter_title");
  page.lostSince = null;
  drawBanner();
  show(element("top"), [h("p", { class: "node" }, h("strong", {}, "crdtsync")), languageButton()]);
  show(element("nav"), []);
  show(element("menu"), []);
  show(element("screen"), [
    heading(t("enter_title")),
    h("p", {}, page.entry === null ? t("enter_lost") : t("enter_refused", { why: page.entry })),
    h("p", {}, t("enter_how")),
    h("pre", { class: "command", tabindex: "0" }, h("code", {}, "crdtsync monitor DIR")),
    h("p", {}, t("enter_then")),
    h("p", { class: "quiet" }, t("enter_help")),
    h("p", {}, h("button", { type: "button", class: "button", onclick: () => identify() }, t("enter_again"))),
  ]);
}

// -- time goes on -------------------------------------------------------------------------------------------

function tick() {
  for (const shown of document.querySelectorAll("[data-ago]")) {
    const text = words.ago(Number(shown.dataset.ago));
    if (shown.textContent !== text) shown.textContent = text;
  }
  for (const shown of document.querySelectorAll("[data-until]")) {
    const left = (Number(shown.dataset.until) - words.now()) / 1000;
    if (left <= 0 && left > -2 && !context.lost) soon();
    shown.textContent = words.countdown(left);
  }
}

window.addEventListener("hashchange", navigate);
setInterval(tick, TICK_MS);
setInterval(() => {
  if (page.me !== null && !context.lost && document.visibilityState === "visible") refresh();
}, POLL_MS);
start();
