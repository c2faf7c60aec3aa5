"""A store is opened only by the node that writes it: a folder that was copied and edited is refused, and left as it is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from adapters.stock import StockItem
from crdtsync.errors import StoreForeign
from crdtsync.node import Node, NodeConfig
from crdtsync.schema import Role

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> NodeConfig:
    return NodeConfig(tmp_path, "loja1", Role.LOJA, store="loja1")


async def used(config: NodeConfig) -> bytes:
    """Write a record, and return what the store's file holds then."""
    async with Node(config) as node, node.transaction() as tx:
        tx.create(StockItem, product="1")
    return config.store_path.read_bytes()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"device": "loja2"}, "device loja1, here loja2"),
        ({"store": "loja2"}, "store loja1, here loja2"),
        ({"role": Role.CAIXA}, "role loja, here caixa"),
        ({"account": "other"}, "account main, here other"),
    ],
)
async def test_a_store_that_another_node_wrote_is_not_opened_and_stays_as_it_is(
    config: NodeConfig, other: dict[str, Any], told: str
) -> None:
    before = await used(config)
    nonce = (config.folder / "incarnation").read_bytes()
    with pytest.raises(StoreForeign, match=told) as caught:
        await Node(replace(config, **other)).open()
    assert caught.value.path == str(config.store_path)
    assert config.store_path.read_bytes() == before
    assert (config.folder / "incarnation").read_bytes() == nonce
    async with Node(config) as node:
        assert await node.count(StockItem) == 1
        assert len(node.ledger.registry) == 1


async def test_a_damaged_row_beside_the_own_one_does_not_hide_whose_the_store_is(config: NodeConfig) -> None:
    await used(config)
    with closing(sqlite3.connect(config.store_path)) as store, store:
        store.execute("INSERT INTO replicas VALUES (7, 'caixa7', 'caixa', 'loja1', 'main', 0)")
    with pytest.raises(StoreForeign):
        await Node(replace(config, device="loja2")).open()


async def test_a_configuration_that_is_corrected_before_anything_was_written_gets_an_identity_of_its_own(
    config: NodeConfig,
) -> None:
    async with Node(replace(config, device="loja2", store="loja2")) as node:
        former = node.ledger.replica
    async with Node(config) as node:
        replica = node.ledger.replica
        assert replica != former
        row = node.ledger.registry[replica]
        assert (row.device, row.role, row.store) == ("loja1", "loja", "loja1")
    await used(config)
    async with Node(config) as node:
        assert node.ledger.replica == replica
