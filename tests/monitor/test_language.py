"""Texts for people come in the language that the reader asks for; words for programs stay as they are."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from crdtsync.monitor import language
from tests.monitor.house import config_of, create, house_in, problem
from tests.node.shop import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.monitor.house import House


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("pt", "pt"),
        ("pt-BR", "pt"),
        ("PT-br", "pt"),
        ("en-US,en;q=0.9", "en"),
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        ("en;q=0.5, pt;q=0.7", "pt"),
        ("de, pt;q=0.3", "pt"),
        ("pt;q=0", "en"),
        ("de", "en"),
        ("*", "en"),
        ("pt;q=many", "en"),
        ("pt;q=nan", "en"),
        (",;=;q=,", "en"),
    ],
)
def test_the_first_known_language_of_the_header_is_used(header: str, expected: str) -> None:
    language.use(header)
    assert language.current() == expected


# What is asked, and a part of what is said in each language.
REFUSALS = [
    ("GET", "/api/records/products/x", None, "there is no such record", "não existe este registro"),
    ("GET", "/api/nothing", None, "Not Found", "Não encontrado"),
    ("GET", "/api/records/prodcts", None, "did you mean", "você quis dizer"),
    ("POST", "/api/first", {"category": 1}, "body.category: write a text", "body.category: escreva um texto"),
    ("POST", "/api/pendencies/seen", {"person": "ana"}, "body.id: is missing", "body.id: falta"),
    (
        "POST",
        "/api/pendencies/resolve",
        {"person": "ana", "option": "a", "why": "x"},
        "name one pendency by its id",
        "indique uma pendência pelo id",
    ),
    (
        "POST",
        "/api/transactions",
        {"idempotency_key": "k", "operations": [{"do": "sell"}]},
        "no such operation",
        "essa operação não existe",
    ),
    (
        "POST",
        "/api/transactions",
        {"idempotency_key": "k", "operations": [create("products", "p", name="x", kind="y")]},
        "write one of: 'food', 'other'",
        "escreva um destes: 'food', 'other'",
    ),
]


async def test_the_same_refusal_is_told_in_both_languages(house: House) -> None:
    for method, path, body, *expected in REFUSALS:
        told = []
        for asked, part in zip(("en", "pt-BR"), expected, strict=True):
            answer = await house.resolver.request(method, path, json=body, headers={"Accept-Language": asked})
            assert answer.headers["content-language"] == asked[:2]
            assert part in answer.json()["detail"]
            told.append(answer.json())
        english, portuguese = told
        assert (english["type"], english["status"]) == (portuguese["type"], portuguese["status"])
        assert english["title"] != portuguese["title"]
        places = [[one["at"] for one in said.get("errors", [])] for said in told]
        assert places[0] == places[1]


async def test_the_guard_speaks_both_languages_too(house: House) -> None:
    answer = await house.client().get("/api/me", headers={"Accept-Language": "pt"})
    assert problem(answer, 401) == "stranger"
    assert answer.json()["title"] == "Não identificado"
    assert "identifique-se" in answer.json()["detail"]
    assert "say who you are" in (await house.client().get("/api/me")).json()["detail"]


async def test_alerts_are_told_in_the_language_of_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house_in(tmp_path, config=config_of(tmp_path, upstream="ws://127.0.0.1:1")) as house:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6, total=10**9))
        told = {
            asked: await house.reader.get("/api/alerts", headers={"Accept-Language": asked})
            for asked in ("en", "pt")
        }
        (english, portuguese) = ([one["detail"] for one in said.json()["alerts"]] for said in told.values())
        assert "1 MB free, 0 % of the disk" in english
        assert "1 MB livres, 0 % do disco" in portuguese
        status = (await house.reader.get("/api/status", headers={"Accept-Language": "pt"})).json()
        assert f"disk_full: {tmp_path}: 1 MB livres, 0 % do disco" in status["alerts"]


async def test_why_a_link_ended_is_told_in_the_language_of_who_asks(tmp_path: Path) -> None:
    async with house_in(tmp_path, config=config_of(tmp_path, upstream="ws://127.0.0.1:1")) as house:
        await until(lambda: house.node.agenda.link()["code"] is not None, "the link is refused")
        for path in ("/api/queue", "/api/network"):
            english, portuguese = [
                (await house.reader.get(path, headers={"Accept-Language": asked})).json()["link"]
                for asked in ("en", "pt")
            ]
            assert english["code"] == portuguese["code"] == "unreachable"
            assert english["detail"].startswith("the node above does not answer (unreachable: ")
            assert portuguese["detail"].startswith("a estação de cima não responde (unreachable: ")
