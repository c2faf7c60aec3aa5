"""C24: settings of one group that Gestão and Loja changed without knowing of each other."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from adapters.account_settings import AccountSetting
from crdtsync.errors import CheckFailed
from crdtsync.node.verbs import set_
from tests.adapters.conflicts.kit import GESTAO, LOJA, one

if TYPE_CHECKING:
    from crdtsync.node import Node
    from crdtsync.storage import PendencyRow
    from tests.adapters.conflicts.kit import Store


async def put(node: Node, name: str, value: str) -> None:
    """Write one setting, as the command line does."""
    await set_(node, {"category": "account_settings", "key": name, "assignments": [f"value={value}"]})


async def settings(store: Store) -> dict[str, str]:
    """The settings, the same at every node."""
    told = [
        {each.name: each.value for each in await node.find(AccountSetting) if not each.whole_group}
        for node in store.nodes.values()
    ]
    assert all(values == told[0] for values in told)
    return told[0]


async def changed_apart(store: Store) -> PendencyRow:
    """Gestão changes the environment, and then Loja, which has not heard of it, the series and a new token."""
    for name, value in (("nfce.ambiente", "teste"), ("nfce.serie", "1")):
        await put(store.gestao, name, value)
    await store.even()
    await store.apart()
    await put(store.gestao, "nfce.ambiente", "producao")
    store.clock(LOJA).advance(timedelta(minutes=1))
    async with store.loja.transaction() as tx:
        (await tx.get(AccountSetting, "nfce.serie")).value = "900"
        tx.create(AccountSetting, name="nfce.token", value="abc")
    await store.together()
    return await store.same("C24")


async def test_two_settings_of_one_group_changed_on_two_sides_are_one_pendency(store: Store) -> None:
    found = await changed_apart(store)
    assert found.key == "nfce.*"
    assert "O grupo “nfce” foi mudado em 2 lugares" in found.message
    assert "nfce.ambiente = producao, nfce.serie = 1, nfce.token = (nada)" in found.message
    assert "nfce.ambiente = teste, nfce.serie = 900, nfce.token = abc" in found.message


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("a", {"nfce.ambiente": "teste", "nfce.serie": "900", "nfce.token": "abc"}),
        ("b", {"nfce.ambiente": "producao", "nfce.serie": "1"}),
        ("combinar", {"nfce.ambiente": "producao", "nfce.serie": "900", "nfce.token": "abc"}),
    ],
)
async def test_one_side_is_taken_whole_or_both_are_combined(
    store: Store, option: str, wanted: dict[str, str]
) -> None:
    await store.settle(await changed_apart(store), option)
    assert await settings(store) == wanted


@pytest.mark.parametrize("option", ["a", "b", "combinar"])
async def test_two_people_who_choose_the_same_side_apart_choose_it_once(store: Store, option: str) -> None:
    await store.settle_apart(await changed_apart(store), option, at=(GESTAO, LOJA))
    await store.nothing("C24")


async def test_the_same_setting_changed_on_two_sides_is_the_groups_pendency_too(store: Store) -> None:
    await put(store.gestao, "desconto.maximo", "5")
    await store.even()
    await store.apart()
    await put(store.gestao, "desconto.maximo", "10")
    store.clock(LOJA).advance(timedelta(minutes=1))
    await put(store.loja, "desconto.maximo", "15")
    await store.together()
    found = await store.same("C24")
    await store.settle(found, "b", at=GESTAO)
    assert await settings(store) == {"desconto.maximo": "10"}
    assert (await one(store.loja, AccountSetting, "desconto.maximo")).conflicts == {}


async def test_a_setting_deleted_on_one_side_is_told_and_comes_back_with_that_side(store: Store) -> None:
    await put(store.gestao, "nfce.token", "abc")
    await put(store.gestao, "nfce.serie", "1")
    await store.even()
    await store.apart()
    async with store.gestao.transaction() as tx:
        (await tx.get(AccountSetting, "nfce.token")).delete()
    store.clock(LOJA).advance(timedelta(minutes=1))
    await put(store.loja, "nfce.serie", "2")
    await store.together()
    assert await settings(store) == {"nfce.serie": "2"}
    await store.settle(await store.same("C24"), "a")
    assert await settings(store) == {"nfce.serie": "2", "nfce.token": "abc"}


async def test_two_groups_and_the_same_value_on_both_sides_open_nothing(store: Store) -> None:
    await put(store.gestao, "nfce.serie", "1")
    await store.even()
    await store.apart()
    await put(store.gestao, "nfce.serie", "2")
    await put(store.loja, "nfce.serie", "2")
    await put(store.loja, "pix.chave", "loja@exemplo.com.br")
    await store.together()
    await store.nothing("C24")


async def test_settings_written_one_after_the_other_open_nothing(store: Store) -> None:
    for node, value in ((store.gestao, "1"), (store.loja, "2"), (store.gestao, "3")):
        await put(node, "nfce.serie", value)
        await store.even()
    await store.nothing("C24")
    assert await settings(store) == {"nfce.serie": "3"}


async def test_settings_loaded_in_bulk_share_their_groups_record(store: Store) -> None:
    rows = [{"name": f"nfce.opcao{number:03}", "value": str(number)} for number in range(300)]
    assert await store.gestao.load(AccountSetting, rows) == 300
    await store.even()
    whole = await one(store.loja, AccountSetting, "nfce.*")
    assert len(whole.told()[0]) == 300


async def test_a_settings_value_is_short_and_what_somebody_wrote_into_a_groups_record_is_passed_over(
    store: Store,
) -> None:
    with pytest.raises(CheckFailed, match="4000"):
        await put(store.gestao, "loja.aviso", "x" * 4001)
    await put(store.gestao, "loja.*", "isto não é JSON")
    await put(store.gestao, "loja.aviso", "Bom dia")
    assert (await one(store.gestao, AccountSetting, "loja.*")).told() == [{"loja.aviso": "Bom dia"}]
