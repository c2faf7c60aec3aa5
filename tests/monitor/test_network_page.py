"""*Rede* in a real browser: the fleet of a head office, and pausing a store that is really there."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Route, async_playwright, expect

from crdtsync.monitor.serve import serve
from crdtsync.monitor.tokens import Level, address_of
from crdtsync.node import Node, NodeConfig
from crdtsync.schema import Role
from tests.chromium import CHROMIUM, CHROMIUM_ARGS, needs_chromium
from tests.monitor.house import SCHEMA, add_fleet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [
    needs_chromium,
    # A browser starts, and the machine may be busy.
    pytest.mark.timeout(180),
]

WAIT_MS = 15_000


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=WAIT_MS)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_ARGS))
        yield launched
        await launched.close()


@asynccontextmanager
async def fleet(folder: Path, stores: int) -> AsyncIterator[tuple[Node, int]]:
    """Give a head office that remembers so many stores, and the port of its page."""
    config = NodeConfig(folder, "gestao", Role.GESTAO)
    async with Node(config, schema=SCHEMA) as node, serve(node) as port:
        await add_fleet(node, stores)
        yield node, port


async def open_network(page: Page, address: str) -> None:
    page.set_default_timeout(WAIT_MS)
    await page.goto(address)
    await page.get_by_role("link", name="Rede").click()
    await expect(page.get_by_role("heading", level=1, name="Rede")).to_be_visible()


async def assert_clean(page: Page) -> None:
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider == 0


async def test_a_fleet_is_paged_sorted_filtered_and_readable_everywhere(
    browser: Browser, tmp_path: Path
) -> None:
    async with fleet(tmp_path, 500) as (node, port):
        node.uplink.memory.below["loja498"].trouble = "invalid: <img src=x onerror=alert(1)>"
        page = await browser.new_page(viewport={"width": 1024, "height": 768})
        await open_network(page, address_of(tmp_path, port))
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(50)
        await expect(rows.first).to_contain_text("loja499")
        await expect(page.get_by_role("status").filter(has_text="500 estações")).to_be_visible()
        await expect(rows.nth(1)).to_contain_text("<img src=x onerror=alert(1)>")
        await assert_clean(page)

        header = page.get_by_role("columnheader", name="Relógio")
        await header.get_by_role("link").click()
        await expect(header).to_have_attribute("aria-sort", "descending")
        await expect(rows.first).to_contain_text("loja000")
        await header.get_by_role("link").click()
        await expect(header).to_have_attribute("aria-sort", "ascending")
        await expect(rows.first).to_contain_text("loja250")
        await page.get_by_role("link", name="Próxima página").click()
        await expect(rows.first).not_to_contain_text("loja250")

        await page.get_by_label("Nome ou loja").fill("LOJA007")
        await page.keyboard.press("Enter")
        await expect(rows).to_have_count(1)
        await expect(page.get_by_label("Nome ou loja")).to_be_focused()
        await rows.first.get_by_text("2 caixas").click()
        await expect(rows.first).to_contain_text("caixa1")
        await expect(rows.first).to_contain_text("sem registros ainda")
        await page.get_by_role("link", name="Limpar filtros").click()

        await page.set_viewport_size({"width": 390, "height": 844})
        await page.emulate_media(color_scheme="dark")
        await page.get_by_label("Ordem").select_option("pendencies")
        await expect(rows.first).to_contain_text("loja000")
        await assert_clean(page)
        await page.get_by_role("button", name="English").click()
        await expect(page.get_by_role("heading", level=1, name="Network")).to_be_visible()

        looking = await browser.new_page()
        await open_network(looking, address_of(tmp_path, port, Level.READER))
        await expect(looking.locator("tbody tr")).to_have_count(50)
        await expect(looking.get_by_role("main").get_by_role("button")).to_have_count(0)


async def test_who_is_quicker_than_the_node_chooses_from_what_was_chosen_last(
    browser: Browser, tmp_path: Path
) -> None:
    async with fleet(tmp_path, 60) as (_, port):
        page = await browser.new_page()
        await open_network(page, address_of(tmp_path, port))
        rows = page.locator("tbody tr")
        await page.get_by_label("Nome ou loja").fill("loja007")
        await page.keyboard.press("Enter")
        await expect(rows).to_have_count(1)
        answered = asyncio.Event()

        async def hold(route: Route) -> None:
            await answered.wait()
            await route.continue_()

        await page.route("**/api/network?*", hold)
        await page.get_by_role("link", name="Limpar filtros").click()
        # What is shown is still what was found by name.
        await page.get_by_label("Ordem").select_option("pendencies")
        answered.set()
        await expect(rows).to_have_count(50)
        await expect(page.get_by_label("Nome ou loja")).to_have_value("")


async def test_a_store_is_paused_resumed_and_revoked_and_both_pages_say_so_as_it_happens(
    browser: Browser, tmp_path: Path
) -> None:
    for name in ("gestao", "loja1"):
        (tmp_path / name).mkdir()
    above = NodeConfig(tmp_path / "gestao", "gestao", Role.GESTAO, listen=True)
    async with Node(above, schema=SCHEMA) as office, serve(office) as port:
        assert office.server is not None
        upstream = f"ws://127.0.0.1:{office.server.port}"
        below = NodeConfig(tmp_path / "loja1", "loja1", Role.LOJA, store="loja1", upstream=upstream)
        async with Node(below, schema=SCHEMA) as store, serve(store) as port_below:
            page, page_below = await browser.new_page(), await browser.new_page()
            await open_network(page, address_of(above.folder, port))
            row = page.get_by_role("row").filter(has_text="loja1")
            await expect(row).to_contain_text("conectado")
            await expect(row).to_contain_text("0.1.0")
            await page_below.goto(address_of(below.folder, port_below))
            await row.get_by_role("button", name="Pausar: loja1").click()
            await expect(row).to_contain_text("pausado desde")
            await expect(page.get_by_text("loja1 está em pausa")).to_be_visible()
            await expect(
                page_below.get_by_role("heading", name="Pausado pela estação de cima")
            ).to_be_visible()
            await row.get_by_role("button", name="Retomar: loja1").click()
            await expect(row.get_by_role("button", name="Pausar: loja1")).to_be_visible()
            # It comes back by itself; a program may ask it to try at once.
            store.request_check()
            await expect(row).to_contain_text("conectado")
            await expect(page_below.get_by_role("banner").get_by_text("conectado")).to_be_visible()
            await row.get_by_role("button", name="Revogar: loja1").click()
            await page.get_by_role("dialog").get_by_role("button", name="Revogar").click()
            await expect(row).to_contain_text("revogado")
            await expect(row.get_by_role("button")).to_have_count(0)
            await expect(page_below.get_by_role("heading", name="A ligação falhou")).to_be_visible()
