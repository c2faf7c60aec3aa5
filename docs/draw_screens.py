"""`python docs/draw_screens.py [NAME ...]`: write docs/screens/*.png, what docs/monitor.md shows, from the page itself.

Real nodes with the small trade of the page's tests, in the Chromium of this machine; the first synchronization is drawn
while it goes on. Look at each picture before it is committed.
"""

# ruff: noqa: INP001 - a script beside the page that it writes, not a package.

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.chromium import CHROMIUM, CHROMIUM_ARGS  # noqa: E402 - it is beside this folder, not installed
from tests.monitor import trade  # noqa: E402
from tests.monitor.browser import town_in  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from playwright.sync_api import Browser, Page

FOLDER = ROOT / "docs" / "screens"
DESK = {"width": 1024, "height": 700}
PHONE = {"width": 390, "height": 780}
_PRODUCTS = 6_000
_WAIT_MS = 15_000
_COLOURS = 256


def _open(page: Page, screen: str, ready: str) -> None:
    page.evaluate("screen => { location.hash = `#/${screen}` }", screen)
    page.locator(ready).first.wait_for()


def _sync(page: Page) -> None:
    _open(page, "sync", ".state")


def _queue(page: Page) -> None:
    _open(page, "queue", ".queue")


def _history(page: Page) -> None:
    _open(page, "history", ".chart")
    page.locator(".run-row summary").first.click()


def _pendencies(page: Page) -> None:
    _open(page, "pendencies", ".cards")


def _card(page: Page) -> None:
    _pendencies(page)
    page.get_by_role("link", name="Preço editado em dois lugares").click()
    page.locator(".beside").wait_for()


def _question(page: Page) -> None:
    _pendencies(page)
    page.get_by_role("link", name="Estoque abaixo de zero").first.click()
    page.get_by_role("button", name="Resolver assim: Aceitar").click()
    page.get_by_role("textbox", name="Motivo").fill("semana de festa; compras já foi avisada")
    page.get_by_label("Quem faz").select_option("maria")


_DRAWN: dict[str, tuple[dict[str, int], str, Callable[[Page], None]]] = {
    "sincronizacao": (DESK, "light", _sync),
    "proximas": (DESK, "light", _queue),
    "historico": (DESK, "light", _history),
    "pendencias": (DESK, "light", _pendencies),
    "ficha": ({**DESK, "height": 1_000}, "light", _card),
    "resolver": (DESK, "light", _question),
    "celular": (PHONE, "dark", _sync),
}
FIRST = "inicial"
NAMES = (FIRST, *_DRAWN)


def draw(folder: Path, names: Iterable[str] = NAMES) -> None:
    """Write the named pictures into a folder."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_ARGS))
        if FIRST in names:
            _draw_first(browser, folder)
        wanted = [name for name in _DRAWN if name in names]
        if wanted:
            _draw_store(browser, folder, wanted)
        browser.close()


def _shoot(page: Page, path: Path) -> None:
    """Write what is on the screen in few colours: a third of the bytes, and nobody sees it."""
    page.screenshot(path=path)
    with Image.open(path) as drawn:
        few = drawn.convert("RGB").quantize(
            _COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE
        )
    few.save(path, optimize=True)


def _page(browser: Browser, size: dict[str, int], scheme: str, address: str) -> Page:
    context = browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(_WAIT_MS)
    page = context.new_page()
    page.goto(address)
    page.locator(".state").wait_for()
    return page


def _draw_first(browser: Browser, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as store, town_in(Path(store), limit_kb_s=200) as town:
        trade.go_to(town, trade.NOW)
        town.office.do(trade.open_catalogue)
        town.office.do(trade.write_products, _PRODUCTS)
        town.cut()
        town.store.start()
        town.store.do(trade.write_stock, _PRODUCTS)
        page = _page(browser, DESK, "light", town.store.address())
        town.mend()
        page.get_by_text("Sincronização inicial em andamento").wait_for()
        page.locator("[data-key=products] .row", has_text="46%").wait_for()
        _shoot(page, folder / f"{FIRST}.png")
        town.store.until_synchronized()


def _draw_store(browser: Browser, folder: Path, names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as store, town_in(Path(store)) as town:
        trade.work_for_days(town)
        trade.open_questions(town)
        town.store.do(trade.sell, "v9999", "7891003", "7891004")
        for name in names:
            size, scheme, show = _DRAWN[name]
            page = _page(browser, size, scheme, town.store.address())
            show(page)
            _shoot(page, folder / f"{name}.png")
            page.context.close()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    draw(FOLDER, sys.argv[1:] or NAMES)
