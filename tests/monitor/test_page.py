"""The page in a real browser, with real nodes behind it: what a store manager sees and does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from crdtsync.monitor.tokens import Level
from tests.monitor.browser import CHROMIUM, CHROMIUM_ARGS, Station, copied, prepare
from tests.waiting import wait_for

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
)

from playwright.sync_api import Browser, Page, expect  # noqa: E402 - skipped without it

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    # Processes start, a browser starts, and the machine may be busy.
    pytest.mark.timeout(180),
]

WAIT_MS = 15_000
PAYLOADS = (
    "<img src=x onerror=\"document.title='broken'\">",
    "<script>document.title='broken'</script>",
    "\"'><svg onload=document.title='broken'>",
)
C01 = "stock/loja1/7891000#C01"
SCREENS = (
    "sync",
    "queue",
    "queue/stock",
    "history",
    "pendencies",
    f"pendencies/{C01.replace('/', '%2F').replace('#', '%23')}",
    "network",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
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
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    products = {"7891000": "Café torrado 500 g", **{str(at): text for at, text in enumerate(PAYLOADS)}}
    prepare(folder, products, person=PAYLOADS[0])
    return folder


@pytest.fixture(scope="module")
def shop(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A store below a head office, with products that are called like attacks and stock below zero."""
    yield from _shop(prepared, tmp_path_factory.mktemp("shop"))


@pytest.fixture
def own_shop(prepared: Path, tmp_path: Path) -> Iterator[Station]:
    """The same, for a test that changes what others would see."""
    yield from _shop(prepared, tmp_path)


def _shop(prepared: Path, folder: Path) -> Iterator[Station]:
    office, store = copied(prepared, folder)
    try:
        office.start()
        store.start()
        wait_for(lambda: store.ask("status")["initial_done"], "the initial synchronization")
        for product in ("7891000", "0", "1", "2"):
            store.set(f"stock/{product}", "balance-=1")
        yield store
    finally:
        store.stop()
        office.stop()


def enter(page: Page, station: Station, level: Level = Level.RESOLVER) -> None:
    page.goto(station.address(level))
    expect(page.get_by_role("heading", level=1, name="Sincronização")).to_be_visible()


def go(page: Page, screen: str) -> None:
    # The page has begun to load the screen once it was told; what was there before is gone then.
    page.evaluate(
        """hash => new Promise((done) => {
            if (location.hash === hash) return done();
            addEventListener("hashchange", () => done(), { once: true });
            location.hash = hash;
        })""",
        f"#/{screen}",
    )
    expect(page.locator("main h1")).to_be_visible()


def test_without_a_session_it_says_how_to_get_in(page: Page, shop: Station) -> None:
    page.goto(shop.address().partition("enter")[0])
    expect(page.get_by_role("heading", name="Como entrar")).to_be_visible()
    expect(page.get_by_text("crdtsync monitor DIR")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="How to get in")).to_be_visible()


def test_a_wrong_token_is_said_to_be_wrong(page: Page, shop: Station) -> None:
    page.goto(shop.address().partition("#")[0] + "#" + "0" * 64)
    expect(page.get_by_text("O endereço usado não vale mais")).to_be_visible()


def test_entering_leaves_no_token_in_the_address(page: Page, shop: Station) -> None:
    enter(page, shop)
    assert page.url == shop.address().partition("enter")[0]
    page.reload()
    expect(page.get_by_role("heading", level=1, name="Sincronização")).to_be_visible()


def test_the_first_screen_answers_at_a_glance(page: Page, shop: Station) -> None:
    enter(page, shop)
    main = page.get_by_role("main")
    expect(page.get_by_role("banner").get_by_text("conectado")).to_be_visible()
    expect(main.get_by_role("heading", name="Sincronização em ordem")).to_be_visible()
    expect(main.get_by_text("Última sincronização")).to_be_visible()
    expect(main.get_by_text(re.compile(r"Rotina, às \d\d:\d\d \(em \d+:\d\d\)"))).to_be_visible()
    expect(main.get_by_role("heading", name="Alerta")).to_be_visible()
    main.get_by_role("link", name="Ver pendências").click()
    expect(page.get_by_role("heading", level=1, name="Pendências")).to_be_focused()


def test_what_waits_is_listed_opened_put_first_and_paused(page: Page, own_shop: Station) -> None:
    enter(page, own_shop)
    page.get_by_role("navigation").get_by_role("link", name="Próximas sincronizações").click()
    row = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="Estoque"))
    expect(row).to_contain_text("4 registros")
    expect(row).to_contain_text("Aguardando envio")
    row.get_by_role("link", name="Estoque").click()
    expect(page.get_by_role("cell", name="stock/loja1/7891000")).to_be_visible()
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


def test_the_history_opens_to_categories_and_draws_the_hours(page: Page, shop: Station) -> None:
    enter(page, shop)
    page.get_by_role("navigation").get_by_role("link", name="Histórico de sincronizações").click()
    page.locator("summary", has_text="Sincronização inicial").click()
    expect(page.get_by_role("cell", name="Produtos")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("registros nas sincronizações"))).to_be_visible()


def test_attacks_in_text_fields_are_shown_as_text(page: Page, shop: Station) -> None:
    enter(page, shop)
    go(page, "pendencies")
    for payload in PAYLOADS:
        expect(page.get_by_role("listitem").filter(has_text=payload)).to_be_visible()
    go(page, "pendencies/stock%2Floja1%2F0%23C01")
    expect(page.get_by_role("definition").filter(has_text=PAYLOADS[0])).to_be_visible()
    go(page, "pendencies/" + "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    expect(page.get_by_role("heading", name="Isto não está mais aqui")).to_be_visible()
    assert page.title() != "broken"
    assert page.locator("main img, main script, main svg[onload]").count() == 0


def test_filters_stay_in_the_address_and_keep_the_focus(page: Page, shop: Station) -> None:
    enter(page, shop)
    go(page, "pendencies")
    page.get_by_label("Gravidade").focus()
    page.get_by_label("Gravidade").select_option(label="Bloqueia")
    expect(page.get_by_text("Nenhuma pendência com esses filtros.")).to_be_visible()
    expect(page.get_by_label("Gravidade")).to_be_focused()
    page.get_by_label("Gravidade").select_option(label="Conferir")
    expect(page.get_by_role("status").filter(has_text="4 pendências com esses filtros")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Gravidade")).to_have_value("M")


def test_a_reader_sees_no_action(page: Page, shop: Station) -> None:
    enter(page, shop, Level.READER)
    expect(page.get_by_text("Somente leitura")).to_be_visible()
    for screen in SCREENS:
        go(page, screen)
        expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)


def test_both_languages_and_the_choice_is_remembered(page: Page, shop: Station) -> None:
    enter(page, shop)
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1, name="Synchronization")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "en"
    page.reload()
    expect(page.get_by_role("heading", name="Synchronization is in order")).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="Next synchronizations").click()
    expect(page.get_by_text("Waiting to be sent")).to_be_visible()
    page.get_by_role("button", name="Português").click()
    expect(page.get_by_text("Aguardando envio")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1024, 360])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    page: Page, shop: Station, scheme: str, width: int
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 740})
    enter(page, shop)
    for screen in SCREENS:
        go(page, screen)
        found = axe.Axe().run(page)
        assert found.violations_count == 0, f"{screen}: {found.generate_report()}"
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider == 0, screen
    go(page, SCREENS[5])
    page.get_by_role("button", name="Resolver assim").first.click()
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_pendency_is_found_and_resolved_with_the_keyboard_alone(page: Page, own_shop: Station) -> None:
    enter(page, own_shop)
    keyboard = page.keyboard

    def tab_to(name: str) -> None:
        for _ in range(60):
            keyboard.press("Tab")
            said = page.evaluate(
                "() => { const at = document.activeElement; return at.getAttribute('aria-label') ?? at.textContent }"
            )
            if said.startswith(name):
                return
        raise AssertionError(f"no {name!r} is reached with Tab")

    tab_to("Ir para o conteúdo")
    tab_to("Pendências")
    keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Pendências")).to_be_focused()
    tab_to("Estoque abaixo de zero")
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
    tab_to("Resolver assim: Aceitar e avisar compras")
    keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Motivo")).to_be_focused()
    keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Motivo")).to_be_focused()
    keyboard.type("semana de festa")
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(page.get_by_text("Preencha este campo.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Quem faz")).to_be_focused()
    keyboard.type("ninguem")
    keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("ninguem")
    keyboard.press("ControlOrMeta+a")
    keyboard.type("maria")
    keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_text("Resolvida: Aceitar e avisar compras.")).to_be_visible()
    expect(page.get_by_text("“semana de festa”")).to_be_visible()
    assert own_shop.pendencies() == 3

    tab_to("Desfazer")
    keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Motivo")).to_be_focused()
    expect(page.get_by_role("textbox", name="Quem faz")).to_have_value("maria")
    keyboard.type("era outro produto")
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(page.get_by_text("Decisão desfeita")).to_be_visible()
    assert own_shop.pendencies() == 4


def test_an_option_asks_for_its_values_and_may_close_the_pendency(page: Page, own_shop: Station) -> None:
    enter(page, own_shop)
    go(page, SCREENS[5])
    page.get_by_role("button", name="Escrever uma nota").click()
    page.get_by_role("textbox", name="Nota").fill("liguei para compras")
    page.get_by_role("textbox", name="Quem faz").fill("maria")
    page.get_by_role("button", name="Gravar").click()
    expect(page.get_by_text("“liguei para compras”")).to_be_visible()
    page.get_by_role("button", name="Resolver assim: Ajuste de inventário com motivo").click()
    page.get_by_role("textbox", name="Quantidade").fill("5")
    page.get_by_role("textbox", name="Motivo").fill("contagem")
    page.get_by_role("button", name="Resolver", exact=True).click()
    expect(page.get_by_text("A pendência está encerrada.")).to_be_visible()
    expect(page.get_by_role("heading", level=1, name="Pendências")).to_be_visible()
    assert own_shop.ask("show", category="stock", key="7891000")[0]["balance"] == "4.000"


def test_one_decision_may_settle_all_of_a_rule(page: Page, own_shop: Station) -> None:
    enter(page, own_shop)
    go(page, SCREENS[5])
    page.get_by_role("button", name="Resolver assim: Aceitar e avisar compras").click()
    page.get_by_role("checkbox", name="também as outras 3 pendências abertas desta regra em Estoque").check()
    page.get_by_role("textbox", name="Motivo").fill("semana de festa")
    page.get_by_role("textbox", name="Quem faz").fill("maria")
    page.get_by_role("button", name="Resolver", exact=True).click()
    expect(page.get_by_text("4 pendências resolvidas.")).to_be_visible()
    expect(page.get_by_text("Nenhuma pendência.")).to_be_visible()
    assert own_shop.pendencies() == 0


def test_the_button_counts_down_after_a_manual_synchronization(page: Page, own_shop: Station) -> None:
    enter(page, own_shop)
    page.get_by_role("button", name="Sincronizar agora").click()
    waits = page.get_by_text(re.compile(r"Disponível novamente em [0-4]:\d\d"))
    expect(waits).to_be_visible()
    expect(waits).to_contain_text("passaram-se menos de cinco minutos")
    expect(page.get_by_role("button", name="Sincronizar agora")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.get_by_role("heading", name="Tudo sincronizado")).to_be_visible()
    before = waits.inner_text()
    expect(waits).not_to_have_text(before)


def test_it_says_that_it_is_not_connected_and_comes_back_by_itself(page: Page, own_shop: Station) -> None:
    enter(page, own_shop)
    go(page, "pendencies")
    expect(page.get_by_role("listitem").filter(has_text="Estoque abaixo de zero")).to_have_count(4)
    own_shop.stop()
    banner = page.get_by_role("alert").filter(has_text="Sem conexão com esta estação desde")
    expect(banner).to_contain_text(re.compile(r"desde \d\d:\d\d; os dados na tela são de então"))
    expect(page.get_by_role("listitem").filter(has_text="Estoque abaixo de zero")).to_have_count(4)
    own_shop.set("stock/7891000", "balance=9")
    own_shop.start()
    expect(banner).to_have_count(0)
    expect(page.get_by_text("A conexão com esta estação voltou")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="Estoque abaixo de zero")).to_have_count(3)


def test_values_that_were_written_apart_stand_side_by_side(page: Page, own_shop: Station) -> None:
    office = own_shop.above
    assert office is not None
    office.stop()
    office.set("products/7891000", "price=20.50")
    own_shop.set("products/7891000", "price=19.90")
    office.start()
    enter(page, own_shop)
    go(page, "pendencies")
    page.get_by_role("link", name="Preço editado em dois lugares").click()
    beside = page.get_by_role("row", name="preço")
    expect(beside).to_contain_text("20,50")
    expect(beside).to_contain_text("19,90")
    expect(page.get_by_role("columnheader", name="A · vale agora")).to_be_visible()
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_the_head_office_sees_its_network(page: Page, own_shop: Station) -> None:
    assert own_shop.above is not None
    enter(page, own_shop.above)
    expect(page.get_by_role("heading", name="Esta estação está em funcionamento")).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="Rede").click()
    row = page.get_by_role("row").filter(has_text="loja1")
    expect(row).to_contain_text("conectado")
    own_shop.stop()
    expect(row).to_contain_text("sem conexão")


def test_the_first_view_is_light(page: Page, shop: Station) -> None:
    sizes: list[int] = []
    page.on(
        "response",
        lambda answer: sizes.append(len(answer.body())) if "/api/events" not in answer.url else None,
    )
    enter(page, shop)
    assert 0 < sum(sizes) < 100_000
