"""The page in a real browser, with real nodes behind it: what a store manager sees and does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Response, expect, sync_playwright

from crdtsync.monitor.entrance import utc_offset
from crdtsync.monitor.tokens import Level
from tests.chromium import CHROMIUM, CHROMIUM_ARGS, needs_chromium
from tests.monitor import attacks, trade
from tests.monitor.browser import Station, Town, town_in
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    needs_chromium,
    # A browser starts, and the machine may be busy.
    pytest.mark.timeout(180),
]

WAIT_MS = 15_000
COOLDOWN_SECONDS = 300
FIRST_VIEW_BYTES_MAX = 60_000
MANY_PRODUCTS = 4_000
MANY_STOCK = 8_000
SHORT_COFFEE = f"stock/loja1/{trade.COFFEE}#C01"
ATTACK = attacks.ATTACK
TWO_PRICES = f"products/{trade.COFFEE}#C04"
SCREENS = ("sync", "queue", "queue/stock", "history", "pendencies", "network")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_ARGS))
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh browser profile; a test fails when the page's script does, or when the policy stops something."""
    context = browser.new_context(viewport={"width": 1024, "height": 768})
    context.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    opened = context.new_page()
    broken: list[str] = []
    opened.on("pageerror", lambda error: broken.append(str(error)))
    opened.on(
        "console",
        lambda said: broken.append(said.text) if "Content Security Policy" in said.text else None,
    )
    yield opened
    context.close()
    assert broken == []


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A store with four days of history, four pendencies and a sale that waits; tests leave it as it is."""
    with town_in(tmp_path_factory.mktemp("shop")) as town:
        trade.work_for_days(town)
        trade.open_questions(town)
        town.store.do(trade.sell, "v9999", "7891003")
        yield town.store


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """A head office and a store of the test's own, with four products that were sold too often."""
    with town_in(tmp_path) as town:
        trade.open_store(town)
        town.store.do(trade.sell, "v1", *list(trade.PRODUCTS)[:4], units=50)
        yield town


def enter(page: Page, station: Station, level: Level = Level.RESOLVER) -> None:
    page.goto(station.address(level))
    expect(page.get_by_role("heading", level=1, name="Sincronização")).to_be_visible()


def go(page: Page, screen: str) -> None:
    """Open a screen by its address, and wait until it has loaded."""
    page.evaluate("screen => { location.hash = `#/${screen}` }", screen)
    expect(page.get_by_text("Carregando…")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def go_to_card(page: Page, pendency: str) -> None:
    page.evaluate("id => { location.hash = `#/pendencies/${encodeURIComponent(id)}` }", pendency)
    expect(page.get_by_role("heading", level=2, name="O que aconteceu")).to_be_visible()


def resolve(page: Page, option: str, why: str, person: str = "maria") -> None:
    """Choose an option that asks for nothing else."""
    page.get_by_role("button", name=f"Resolver assim: {option}").click()
    page.get_by_role("textbox", name="Motivo").fill(why)
    page.get_by_label("Quem faz").select_option(person)
    page.get_by_role("button", name="Resolver", exact=True).click()


def assert_clean(page: Page, where: str) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, f"{where}: {found.generate_report()}"
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider == 0, where


def test_the_first_view_needs_no_table_of_the_browser(page: Page, shop: Station) -> None:
    page.add_init_script(
        "window.asked = []; for (const name of Object.getOwnPropertyNames(Intl)) if (typeof Intl[name] === 'function')"
        " Intl[name] = new Proxy(Intl[name], { construct(kind, args) {"
        " window.asked.push(name); return Reflect.construct(kind, args) } });"
    )
    enter(page, shop)
    expect(page.get_by_role("heading", level=2, name="Alerta")).to_be_visible()
    assert page.evaluate("window.asked") == []
    go(page, "history")
    # The long names of days: it is asked of the browser what the first view does not need.
    assert page.evaluate("window.asked.length") > 0


WRITTEN_AS_THE_BROWSER_WOULD = """async ([zone, spell]) => {
  const words = await import("/static/words.js");
  words.useZone(zone, spell);
  words.useClock(Date.UTC(2026, 10, 27, 15));
  const wrong = [];
  const same = (name, is, wanted) => { if (is !== wanted) wrong.push(`${words.currentLanguage()} ${name}: ${is}, not ${wanted}`) };
  for (const language of ["pt-BR", "en"]) {
    if (words.currentLanguage() !== language) await words.chooseLanguage(language);
    const plural = new Intl.PluralRules(language);
    for (const number of [0, 1, 2, 3, 10, 11, 21, 999, 1000, 1001, 12345, 999999, 1234567]) {
      same("count", words.count(number), new Intl.NumberFormat(language, { useGrouping: "always" }).format(number));
      if (number < 1000000) same("plural", words.n("records", number) === words.n("records", 1).replace("1", words.count(number)), plural.select(number) === "one");
    }
    for (const share of [0, 0.4, 0.5, 12.5, 99.4, 100])
      same("percent", words.percent(share), new Intl.NumberFormat(language, { style: "percent" }).format(share / 100));
    const told = new Intl.RelativeTimeFormat(language, { numeric: "always" });
    for (const [seconds, count, unit] of [[10, 10, "second"], [60, 1, "minute"], [3599, 59, "minute"], [7200, 2, "hour"], [86400, 1, "day"], [900000, 10, "day"]])
      same("ago", words.ago(words.now() - seconds * 1000 - 200), told.format(-count, unit));
    const written = { timeZone: zone, hourCycle: "h23" };
    for (let day = 0; day < 1200; day += 1) {
      const at = Date.UTC(2024, 0, 1) + day * 86400000 + ((day * 7919) % 86400) * 1000;
      same("moment", words.moment(at, true), new Intl.DateTimeFormat(language, { ...written, dateStyle: "short", timeStyle: "short" }).format(at));
      same("clock", words.clock(at), new Intl.DateTimeFormat(language, { ...written, hour: "2-digit", minute: "2-digit" }).format(at));
      same("day", words.dayOf(at), new Intl.DateTimeFormat("en-CA", { timeZone: zone }).format(at));
      same("hour", words.hourOf(at), Number(new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit" }).format(at)));
    }
  }
  await words.chooseLanguage("pt-BR");
  return wrong.slice(0, 5);
}"""


@pytest.mark.parametrize(
    "zone", ["America/Sao_Paulo", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]
)
def test_numbers_and_times_are_written_as_the_browser_would_write_them(
    page: Page, shop: Station, zone: str
) -> None:
    enter(page, shop)
    # 27 November 2026, 15:00 UTC.
    spell = utc_offset(ZoneInfo(zone), 1_795_791_600_000)
    assert page.evaluate(WRITTEN_AS_THE_BROWSER_WOULD, [zone, spell]) == []


def test_a_stranger_is_told_how_to_get_in(page: Page, shop: Station) -> None:
    base, _, _ = shop.address().partition("enter")
    page.goto(base)
    expect(page.get_by_role("heading", name="Como entrar")).to_be_visible()
    expect(page.get_by_text("crdtsync monitor DIR")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="How to get in")).to_be_visible()
    page.get_by_role("button", name="Português").click()
    page.goto(f"{base}enter#{'0' * 64}")
    expect(page.get_by_text("O endereço usado não vale mais")).to_be_visible()


def test_the_first_screen_answers_at_a_glance_and_is_light(page: Page, shop: Station) -> None:
    answers: list[Response] = []
    page.on("response", lambda answer: answers.extend([answer]))
    enter(page, shop)
    finished = [answer for answer in answers if "/api/events" not in answer.url]
    sent = sum(answer.request.sizes()["responseBodySize"] for answer in finished)
    assert 0 < sent < FIRST_VIEW_BYTES_MAX
    main = page.get_by_role("main")
    expect(page.get_by_role("banner").get_by_text("conectado")).to_be_visible()
    expect(main.get_by_role("heading", name="Sincronizado, com 4 pendências")).to_be_visible()
    expect(main.get_by_text("Última sincronização")).to_be_visible()
    # The node's clock, which is another one than this machine's.
    expect(main.get_by_text(re.compile("há 19 minutos"))).to_be_visible()
    expect(main.get_by_text(re.compile(r"Rotina, às 10:5\d"))).to_be_visible()
    expect(main.get_by_text(re.compile(r"em 1[45]:\d\d"))).to_be_visible()
    expect(main.get_by_role("heading", name="Alerta")).to_be_visible()
    assert page.url == shop.address().partition("enter")[0], "no token stays in the address"
    page.reload()
    main.get_by_role("link", name="Ver pendências").click()
    expect(page.get_by_role("heading", level=1, name="Pendências")).to_be_focused()


def test_what_waits_is_listed_opened_put_first_and_paused(page: Page, shop: Station) -> None:
    enter(page, shop)
    page.get_by_role("navigation").get_by_role("link", name="Próximas sincronizações").click()
    expect(page.get_by_role("main").get_by_role("button", name="Sincronizar agora")).to_be_visible()
    row = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="Estoque"))
    expect(row).to_contain_text("1 registro")
    expect(row).to_contain_text(re.compile(r"Aguardando envio, às 10:5\d"))
    row.get_by_role("link", name="Estoque").click()
    expect(page.get_by_role("cell", name="stock/loja1/7891003")).to_be_visible()
    expect(page.get_by_role("cell", name="esta estação").first).to_be_visible()
    page.get_by_role("link", name="← Próximas sincronizações").click()
    row.get_by_role("button", name="Enviar primeiro: Estoque").click()
    expect(row).to_contain_text("Vai primeiro")
    row.get_by_role("button", name="Não enviar primeiro: Estoque").click()
    expect(row).not_to_contain_text("Vai primeiro")
    row.get_by_role("button", name="Pausar: Estoque").click()
    expect(row).to_contain_text("pausado")
    row.get_by_role("button", name="Retomar: Estoque").click()
    expect(page.get_by_role("status").filter(has_text="Nada está pausado.")).to_be_visible()


def test_the_history_has_four_days_opens_to_categories_and_draws_the_hours(page: Page, shop: Station) -> None:
    enter(page, shop)
    page.get_by_role("navigation").get_by_role("link", name="Histórico de sincronizações").click()
    days = page.get_by_role("main").get_by_role("heading", level=2)
    expect(days).to_have_text(["Hoje", "Ontem", "Domingo, 22 de novembro", "Sábado, 21 de novembro"])
    page.locator("summary", has_text="Sincronização inicial").click()
    expect(page.get_by_role("row", name="Produtos ↓ Baixa de registros 8")).to_be_visible()
    page.locator("summary", has_text="Reconexão").first.click()
    expect(page.get_by_text("2 pendências abertas")).to_be_visible()
    moved = sum(run["records_down"] + run["records_up"] for run in shop.ask("history")["runs"])
    expect(page.get_by_role("img", name=re.compile(rf"^{moved} registros; o máximo"))).to_be_visible()


def test_filters_stay_in_the_address_and_keep_the_focus(page: Page, shop: Station) -> None:
    enter(page, shop)
    go(page, "pendencies")
    found = page.get_by_role("status").filter(has_text="com esses filtros")
    page.get_by_label("Gravidade").focus()
    page.get_by_label("Gravidade").select_option(label="Bloqueia")
    expect(page.get_by_text("Nenhuma pendência com esses filtros.")).to_be_visible()
    expect(page.get_by_label("Gravidade")).to_be_focused()
    page.get_by_label("Gravidade").select_option(label="Conferir")
    expect(found).to_have_text("2 pendências com esses filtros")
    page.reload()
    expect(page.get_by_label("Gravidade")).to_have_value("M")
    page.get_by_role("link", name="Limpar filtros").click()
    expect(page.get_by_label("Gravidade")).to_have_value("")
    page.get_by_label("Categoria").select_option(label="Clientes")
    expect(found).to_have_text("1 pendência com esses filtros")
    page.get_by_label("Categoria").select_option(label="Todas")
    page.get_by_label("Responsável").select_option(label="Gestão")
    expect(found).to_have_text("1 pendência com esses filtros")
    page.get_by_label("Idade", exact=True).select_option(label="Mais de 1 dia")
    expect(page.get_by_text("Nenhuma pendência com esses filtros.")).to_be_visible()


def test_a_reader_sees_no_action(page: Page, shop: Station) -> None:
    enter(page, shop, Level.READER)
    expect(page.get_by_text("Somente leitura")).to_be_visible()
    for screen in SCREENS:
        go(page, screen)
        expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)
    go_to_card(page, SHORT_COFFEE)
    expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)


def test_both_languages_and_the_choice_is_remembered(page: Page, shop: Station) -> None:
    asked: set[str | None] = set()
    page.on("request", lambda request: asked.add(request.headers.get("accept-language")))
    enter(page, shop)
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1, name="Synchronization")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "en"
    page.reload()
    expect(page.get_by_role("heading", name="Synchronized, with 4 pendencies")).to_be_visible()
    assert {"pt-BR", "en"} <= asked
    page.get_by_role("navigation").get_by_role("link", name="Next synchronizations").click()
    expect(page.get_by_text("Next check: at 10:5")).to_be_visible()
    page.get_by_role("button", name="Português").click()
    expect(page.get_by_text("Próxima verificação: às 10:5")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1024, 390])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    page: Page, shop: Station, scheme: str, width: int
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 740})
    enter(page, shop)
    for screen in SCREENS:
        go(page, screen)
        assert_clean(page, screen)
    page.get_by_role("button", name="Sincronização", exact=True).click()
    assert_clean(page, "menu")
    page.keyboard.press("Escape")
    go_to_card(page, TWO_PRICES)
    assert_clean(page, "card")
    page.get_by_role("button", name="Resolver assim").first.click()
    expect(page.get_by_label("Quem faz")).to_be_visible()
    assert_clean(page, "question")


def tab_to(page: Page, name: str) -> Locator:
    """Press Tab until something with this name has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        said = page.evaluate(
            "() => { const at = document.activeElement; return at.getAttribute('aria-label') ?? at.textContent }"
        )
        if said.startswith(name):
            return page.locator(":focus")
    raise AssertionError(f"no {name!r} is reached with Tab")


def test_a_pendency_is_found_and_resolved_with_the_keyboard_alone(page: Page, town: Town) -> None:
    enter(page, town.store)
    keyboard = page.keyboard
    tab_to(page, "Ir para o conteúdo")
    tab_to(page, "Pendências")
    keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Pendências")).to_be_focused()
    tab_to(page, "Estoque abaixo de zero")
    keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Estoque abaixo de zero")).to_be_focused()
    for part in (
        "O que aconteceu",
        "Registros envolvidos",
        "Efeito se nada for feito",
        "Sugestão",
        "Outras opções",
    ):
        expect(page.get_by_role("heading", level=2, name=part)).to_be_visible()
    tab_to(page, "Resolver assim: Aceitar e avisar compras")
    keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Motivo")).to_be_focused()
    keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Motivo")).to_be_focused()
    keyboard.type("semana de festa")
    tab_to(page, "Resolver")
    keyboard.press("Enter")
    expect(page.get_by_text("Preencha este campo.")).to_be_visible()
    expect(page.get_by_label("Quem faz")).to_be_focused()
    keyboard.type("Maria")
    tab_to(page, "Resolver")
    keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_text("Resolvida: Aceitar e avisar compras.")).to_be_visible()
    expect(page.get_by_text("“semana de festa”")).to_be_visible()
    expect(page.get_by_text("Resolvido por Maria Aparecida Souza")).to_be_visible()
    assert town.store.pendencies() == 3

    tab_to(page, "Desfazer")
    keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Motivo")).to_be_focused()
    expect(page.get_by_label("Quem faz")).to_have_value("maria")
    keyboard.type("era outro produto")
    tab_to(page, "Desfazer a decisão")
    keyboard.press("Enter")
    expect(page.get_by_text("Decisão desfeita")).to_be_visible()
    assert town.store.pendencies() == 4


def test_an_option_asks_for_its_values_and_one_decision_may_settle_all_of_a_rule(
    page: Page, town: Town
) -> None:
    enter(page, town.store)
    go_to_card(page, SHORT_COFFEE)
    page.get_by_role("button", name="Escrever uma nota").click()
    page.get_by_role("textbox", name="Nota").fill("liguei para compras")
    page.get_by_label("Quem faz").select_option(label="João Batista Lima")
    page.get_by_role("button", name="Gravar").click()
    expect(page.get_by_text("“liguei para compras”")).to_be_visible()
    page.get_by_role("button", name="Resolver assim: Ajuste de inventário com motivo").click()
    page.get_by_role("textbox", name="Quantidade").fill("15")
    page.get_by_role("textbox", name="Motivo").fill("contagem")
    page.get_by_role("button", name="Resolver", exact=True).click()
    expect(page.get_by_text("A pendência está encerrada.")).to_be_visible()
    expect(page.get_by_role("heading", level=1, name="Pendências")).to_be_visible()
    assert town.store.ask("show", category="stock", key=trade.COFFEE)[0]["balance"] == "5.000"

    page.get_by_role("link", name="Estoque abaixo de zero").first.click()
    page.get_by_role("button", name="Resolver assim: Aceitar e avisar compras").click()
    page.get_by_role("checkbox", name="também as outras 2 pendências abertas desta regra em Estoque").check()
    page.get_by_role("textbox", name="Motivo").fill("semana de festa")
    page.get_by_role("button", name="Resolver", exact=True).click()
    expect(page.get_by_text("3 pendências resolvidas.")).to_be_visible()
    expect(page.get_by_text("Nenhuma pendência.")).to_be_visible()
    assert town.store.pendencies() == 0


def test_the_button_comes_back_five_minutes_after_a_manual_synchronization(page: Page, town: Town) -> None:
    enter(page, town.store)
    main = page.get_by_role("main")
    press = main.get_by_role("button", name="Sincronizar agora")
    press.click()
    waits = main.get_by_text(re.compile(r"Disponível novamente em [45]:\d\d"))
    expect(waits).to_be_visible()
    expect(main.get_by_text("passaram-se menos de cinco minutos")).to_be_visible()
    expect(press).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    before = waits.inner_text()
    expect(waits).not_to_have_text(before)
    page.get_by_role("button", name="Sincronização", exact=True).click()
    menu = page.get_by_role("region", name="Sincronização", exact=True)
    expect(menu.get_by_text(re.compile(r"Disponível novamente em 4:\d\d"))).to_be_visible()
    page.keyboard.press("Escape")

    town.clock.ahead += COOLDOWN_SECONDS
    expect(press).to_be_visible()
    expect(waits).to_have_count(0)
    page.get_by_role("button", name="Sincronização", exact=True).click()
    menu.get_by_role("button", name="Sincronizar agora").click()
    expect(menu).to_be_hidden()
    expect(page.get_by_role("status").filter(has_text="nada a enviar nem a receber")).to_be_visible()


def test_it_says_that_it_is_not_connected_and_comes_back_by_itself(page: Page, town: Town) -> None:
    enter(page, town.store)
    go(page, "pendencies")
    rows = page.get_by_role("listitem").filter(has_text="Estoque abaixo de zero")
    expect(rows).to_have_count(4)
    town.store.stop()
    banner = page.get_by_role("alert").filter(has_text="Sem conexão com esta estação desde")
    expect(banner).to_contain_text(re.compile(r"desde \d\d:\d\d; os dados na tela são de então"))
    expect(rows).to_have_count(4)
    town.store.start()
    expect(banner).to_have_count(0)
    expect(page.get_by_text("A conexão com esta estação voltou")).to_be_visible()
    town.store.set(f"stock/{trade.COFFEE}", "balance=9")
    expect(rows).to_have_count(3)


def test_values_that_were_written_apart_stand_side_by_side(page: Page, shop: Station) -> None:
    enter(page, shop)
    go_to_card(page, TWO_PRICES)
    expect(page.get_by_role("columnheader", name="A · vale agora")).to_be_visible()
    prices = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="preço", exact=True))
    expect(prices.get_by_role("cell")).to_have_text(["R$ 19,49", "R$ 20,50"])
    since = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="preço desde"))
    expect(since.get_by_role("cell")).to_have_text(["24/11/2026, 10:23", "24/11/2026, 10:22"])


def test_the_first_day_of_a_store(page: Page, tmp_path: Path) -> None:
    """From the first login to a decision that the head office has too, the line being cut in between."""
    with town_in(tmp_path, limit_kb_s=80) as town:
        town.office.do(trade.open_catalogue)
        town.office.do(trade.write_products, MANY_PRODUCTS)
        town.cut()
        town.store.start()
        town.store.do(trade.write_stock, MANY_STOCK)
        enter(page, town.store)
        expect(page.get_by_role("heading", name="Sem conexão com a estação de cima")).to_be_visible()

        town.mend()
        expect(page.get_by_role("heading", name="Sincronização inicial em andamento")).to_be_visible()
        some = re.compile(r"[1-9]\d?%")
        for phase, category in (("Baixa de registros", "Produtos"), ("Envio de registros", "Estoque")):
            title = page.get_by_text(category, exact=True)
            moving = page.get_by_role("region", name=phase).get_by_role("listitem").filter(has=title)
            expect(moving).to_contain_text(some)
            expect(page.get_by_role("banner")).to_contain_text(re.compile("Sincronizando"))
            expect(page.get_by_role("main").get_by_role("button", name="Sincronizar agora")).to_have_count(0)
        assert_clean(page, "initial")
        town.store.until_synchronized()
        expect(page.get_by_role("heading", name="Tudo sincronizado")).to_be_visible()

        town.cut()
        expect(page.get_by_role("heading", name="Sem conexão com a estação de cima")).to_be_visible()
        town.store.do(trade.open_stock)
        town.store.do(trade.sell, "v1", trade.COFFEE, units=50)
        page.get_by_role("link", name="Ver pendências").click()
        page.get_by_role("link", name="Estoque abaixo de zero").click()
        resolve(page, "Aceitar e avisar compras", "semana de festa")
        expect(page.get_by_text("Resolvida: Aceitar e avisar compras.")).to_be_visible()
        town.mend()
        town.store.until_synchronized()
        wait_for(lambda: _decided_above(town), "the decision at the head office")

        go(page, "sync")
        expect(page.get_by_role("heading", name="Tudo sincronizado")).to_be_visible()
        go(page, "history")
        page.locator("summary", has_text="Reconexão").first.click()
        expect(page.get_by_role("cell", name="Decisões")).to_be_visible()


def _decided_above(town: Town) -> bool:
    found = town.office.ask("pendencies", status="decided")["pendencies"]
    return [row["id"] for row in found] == [SHORT_COFFEE] and town.office.pendencies() == 0


def test_attacks_in_texts_are_shown_as_text(page: Page, tmp_path: Path) -> None:
    """Every free text of every category, in the card; then the list, the queue, people, notes, reasons, values."""
    with town_in(tmp_path) as town:
        trade.open_store(town)
        attacked = attacks.attack_all(town)
        town.store.ask("person", person="eva", name=ATTACK)
        town.store.do(trade.sell, "v1", trade.COFFEE, units=50)
        enter(page, town.store)
        go(page, "pendencies")
        expect(page.get_by_role("link", name=ATTACK)).to_be_visible()
        go(page, "queue/stock")
        go_to_card(page, attacks.PENDENCY)
        records = page.get_by_role("main").locator("ul.cards > li")
        expect(records).to_have_count(len(attacked.records))
        for more in page.get_by_text("Todos os campos").all():
            more.click()
        shown = page.get_by_role("main").inner_text()
        assert [name for name in attacked.fields if attacks.attack_of(name) not in shown] == []
        _assert_harmless(page)

        go_to_card(page, SHORT_COFFEE)
        resolve(page, "Aceitar e avisar compras", ATTACK, "eva")
        expect(page.get_by_text(f"“{ATTACK}”")).to_be_visible()
        expect(page.get_by_text(f"Resolvido por {ATTACK}")).to_be_visible()
        page.get_by_role("button", name="Escrever uma nota").click()
        page.get_by_role("textbox", name="Nota").fill(ATTACK)
        page.get_by_role("button", name="Gravar").click()
        expect(page.get_by_text(f"Nota de {ATTACK}")).to_be_visible()
        _assert_harmless(page)
        go(page, "pendencies/" + "%3Cimg%20src%3Dx%20onerror%3Dbroken%3D1%3E")
        expect(page.get_by_role("heading", name="Isto não está mais aqui")).to_be_visible()
        _assert_harmless(page)


def _assert_harmless(page: Page) -> None:
    assert page.locator("main img, main script, dialog img, #notice img").count() == 0
    assert page.evaluate("window.broken") is None


def test_the_head_office_sees_its_network(page: Page, town: Town) -> None:
    enter(page, town.office)
    expect(page.get_by_role("heading", name="Esta estação está em funcionamento")).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="Rede").click()
    row = page.get_by_role("row").filter(has_text="loja1")
    expect(row).to_contain_text("conectado")
    town.store.stop()
    expect(row).to_contain_text("sem conexão")
