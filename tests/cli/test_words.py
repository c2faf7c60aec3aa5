"""The two languages: nothing untranslated, catalogues that are current, words on screen as the trade says them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crdtsync.cli import words
from docs import catalogues

ROOT = Path(__file__).parent.parent.parent
if TYPE_CHECKING:
    from tests.cli.conftest import Cli

WORDS_ON_SCREEN = (
    "Sincronizar agora",
    "Próximas sincronizações",
    "Histórico de sincronizações",
    "Pendências",
    "Sincronização inicial",
    "Baixa de registros",
    "Envio de registros",
    "Última sincronização",
    "Aguardando envio",
    "Enviando",
    "Sincronizado",
    "Resolvido por {name}",
    "Disponível novamente em {time}",
    "em segundo plano",
    "O que aconteceu",
    "Registros envolvidos",
    "Efeito se nada for feito",
    "Sugestão",
    "Outras opções",
)


@pytest.mark.parametrize("locale", catalogues.LOCALES)
def test_the_catalogues_are_current_and_whole(locale: str) -> None:
    catalogue = catalogues.current(locale)
    assert catalogues.untranslated(catalogue) == []
    advice = "run python docs/catalogues.py"
    assert catalogues.path_of(locale, "po").read_bytes() == catalogues.written(catalogue), advice
    assert catalogues.path_of(locale, "mo").read_bytes() == catalogues.compiled(catalogue), advice


@pytest.mark.parametrize("locale", catalogues.LOCALES)
def test_a_translation_has_the_places_of_its_text(locale: str) -> None:
    for message in catalogues.current(locale):
        texts = message.id if isinstance(message.id, tuple) else (message.id,)
        said = message.string if isinstance(message.string, tuple) else (message.string,)
        if message.id:
            for text in said:
                assert set(re.findall(r"{\w+}", str(text))) == set(re.findall(r"{\w+}", str(texts[-1]))), (
                    message.id
                )


def test_the_words_on_screen_are_the_trades() -> None:
    said = [
        text
        for message in catalogues.current("pt_BR")
        if message.id
        for text in (message.string if isinstance(message.string, tuple) else (message.string,))
    ]
    assert [word for word in WORDS_ON_SCREEN if word not in said] == []
    # "Baixa" alone has three meanings.
    assert [
        text for text in said if re.search(r"\bbaixa\b(?! de (registros|estoque))", str(text), re.IGNORECASE)
    ] == []


def test_no_text_hides_inside_an_f_string() -> None:
    """The extractor does not see it there, so nobody would translate it."""
    for path in sorted((ROOT / "crdtsync" / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                called = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
                literal = [
                    one
                    for one in called
                    if isinstance(one.func, ast.Name)
                    and one.func.id in {"_", "ngettext"}
                    and isinstance(one.args[0], ast.Constant)
                ]
                assert literal == [], f"{path.name}:{node.lineno}"


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "pt_BR.UTF-8"}, "pt"),
        ({"LANG": "pt_PT"}, "pt"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "pt_BR.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "pt_BR"}, "pt"),
        ({"LANG": "pt_BR.UTF-8", "LC_ALL": ""}, "pt"),
    ],
)
def test_the_environment_says_the_language(environment: dict[str, str], language: str) -> None:
    assert words.from_environment(environment) == language


def test_the_language_may_be_said_before_the_verb_or_after_it(cli: Cli, gestao: Path) -> None:
    assert "Next synchronizations" in cli("queue", gestao).out
    for said in (("--lang", "pt", "queue", gestao), ("queue", gestao, "--lang", "pt")):
        assert "Próximas sincronizações" in cli(*said).out
    assert "Nenhuma pendência." in cli("pendencies", gestao, "--lang", "pt").out
    assert (
        cli("queue", gestao, "--lang", "pt", "--json").json.keys()
        == cli("queue", gestao, "--json").json.keys()
    )
    cli("queue", gestao, "--lang", "fr", code=2)


def test_numbers_moments_and_ages_are_said_as_people_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "from_environment", lambda: "pt")
    zone, now = "America/Sao_Paulo", 1_795_500_000_000
    assert words.age(200) == "há 3 min"
    assert words.count(12_345) == "12.345"
    assert words.percent(45) == "45%"
    assert words.size(1_234_567) == "1,2 MB"
    assert words.size(999) == "999 B"
    assert words.countdown(272) == "4:32"
    assert words.countdown(3_723) == "1:02:03"
    assert words.moment(now, zone, now) == "03:00"
    assert words.moment(now - 86_400_000, zone, now).startswith("23/11/2026")
    assert words.day("2026-11-23", "2026-11-24") == "Ontem"
    assert words.inside("Produtos") == "produtos"
    assert words.inside("CFOP") == "CFOP"
    assert words.span(0.2) == "menos de 1 segundo"
