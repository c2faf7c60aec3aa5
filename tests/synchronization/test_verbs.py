"""The verbs of the tracking screen over the control socket: plain JSON in, plain JSON out, the same as the methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.products import Product
from crdtsync.errors import ControlError
from crdtsync.node import Node, NodeConfig
from crdtsync.node.caller import call
from crdtsync.node.control import ControlServer
from crdtsync.schema import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def loja(tmp_path: Path) -> AsyncIterator[Node]:
    config = NodeConfig(tmp_path, "loja1", Role.LOJA, store="loja1", upstream="ws://127.0.0.1:1")
    async with Node(config) as node:
        server = ControlServer(node)
        await server.start()
        yield node
        await server.close()


async def test_every_verb_of_the_tracking_screen_answers_plain_json(loja: Node, tmp_path: Path) -> None:
    async def ask(verb: str, **args: Any) -> Any:
        answer = await call(tmp_path, verb, **args)
        assert answer is not None, verb
        return answer

    assert await ask("check") is False
    refused = await ask("sync", wait=True)
    assert (refused["accepted"], refused["reason"]) == (False, "unreachable")
    queue = await ask("queue")
    assert (queue["link"]["state"], queue["initial_done"], queue["categories"]) == ("crashing", False, [])
    assert (await ask("queue_records"))["total"] == 0
    assert (await ask("history", days=1))["runs"] == []
    assert [alert["code"] for alert in (await ask("alerts"))["alerts"]] == ["silent_above"]
    assert await ask("pause", category="sales") == {"paused": False, "categories": ["sales"]}
    assert await ask("pause") == {"paused": True, "categories": ["sales"]}
    assert (await ask("sync"))["reason"] == "paused"
    assert await ask("resume") == {"paused": False, "categories": ["sales"]}
    assert await ask("resume", category="sales") == {"paused": False, "categories": []}
    first = await ask("first", category="sales")
    assert first["upload"].index("sales") == len(first["before"])
    assert (await ask("first", category=None))["before"] == []
    assert (await ask("status"))["link"]["state"] == "crashing"
    assert (await loja.queue())["first"] is None


async def test_a_verb_that_is_asked_for_what_cannot_be_says_so_as_a_usage_error(
    loja: Node, tmp_path: Path
) -> None:
    assert await loja.count(Product) == 0
    for verb, args, problem in (
        ("pause", {"category": "produtos"}, "produtos"),
        ("history", {"days": "x"}, "days = 'x'; write a number"),
        ("queue_records", {"limit": 5000}, "limit = 5000; write a number from 1 to 1000"),
    ):
        with pytest.raises(ControlError, match=problem) as caught:
            await call(tmp_path, verb, **args)
        assert caught.value.usage
