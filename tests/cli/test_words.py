"""The two languages: nothing untranslated, catalogues that are current, words on screen as the trade says them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crdtsync import errors
from crdtsync.cli import words
from crdtsync.locale import LOCALES
from docs import catalogues

ROOT = Path(__file__).parent.parent.parent
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Cli, Start

# What an adapter's author reads, and what ends a link and is only logged.
PROGRAMMERS_ONLY = {"AdapterError", "ChannelClosed", "LinkBroken", "StoreClosed"}

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


@pytest.mark.parametrize("locale", LOCALES.values())
def test_the_catalogues_are_current_and_whole(locale: str) -> None:
    catalogue = catalogues.current(locale)
    assert catalogues.untranslated(catalogue) == []
    advice = "run python docs/catalogues.py"
    assert catalogues.path_of(locale, "po").read_bytes() == catalogues.written(catalogue), advice
    assert catalogues.path_of(locale, "mo").read_bytes() == catalogues.compiled(catalogue), advice


@pytest.mark.parametrize("locale", LOCALES.values())
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


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Every file whose texts are extracted."""
    for path in sorted((ROOT / "crdtsync").rglob("*.py")):
        name = path.relative_to(ROOT / "crdtsync").as_posix()
        if not name.startswith("testing/"):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def test_every_text_of_an_error_is_a_literal_with_a_place_for_each_of_its_values() -> None:
    known = {message.id for message in catalogues.current("pt_BR")}
    found = 0
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                (template,) = node.args
                where = f"{name}:{node.lineno}"
                text = template.value if isinstance(template, ast.Constant) else None
                assert isinstance(text, str), where
                assert {one.arg for one in node.keywords} == set(re.findall(r"{(\w+)}", text)), where
                # A place is a name: no conversion, no format.
                assert not re.search(r"[{}]", re.sub(r"{\w+}", "", text)), where
                assert text in known, where
                found += 1
    assert found > 150


def test_no_error_that_a_person_may_read_is_raised_in_english_only() -> None:
    told = {name for name, one in vars(errors).items() if isinstance(one, type)} - PROGRAMMERS_ONLY
    for name, tree in sources():
        if name.startswith(("state/", "protocol/", "transport/memory.py")):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in told:
                for one in node.args:
                    parts = one.values if isinstance(one, ast.JoinedStr) else [one]
                    english = [
                        part for part in parts if isinstance(part, ast.Constant) and " " in str(part.value)
                    ]
                    assert english == [], f"{name}:{one.lineno}: {ast.unparse(one)}"


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
    cli("set", gestao, "products/1", "name=Café")
    assert "Next synchronizations" in cli("queue", gestao).out
    for said in (("--lang", "pt", "queue", gestao), ("queue", gestao, "--lang", "pt")):
        assert "Próximas sincronizações" in cli(*said).out
    assert "Nenhuma pendência." in cli("pendencies", gestao, "--lang", "pt").out
    assert (
        cli("queue", gestao, "--lang", "pt", "--json").json.keys()
        == cli("queue", gestao, "--json").json.keys()
    )
    cli("queue", gestao, "--lang", "fr", code=2)


REFUSALS = {
    ("set", "prodcts/1", "name=x"): (
        "prodcts: no installed adapter declares this category; did you mean 'products'?; see `crdtsync adapters`",
        "prodcts: nenhum adaptador instalado declara esta categoria; você quis dizer 'products'?; veja `crdtsync adapters`",
    ),
    ("set", "products/1", "nme=x"): (
        "products.nme: there is no such field; did you mean 'name'?",
        "products.nme: não existe este campo; você quis dizer 'name'?",
    ),
    ("set", "products/1", "name=x", "price=1.005"): (
        "products.price: 1.005 has more than 2 decimal places; round it where the rule is known",
        "products.price: 1.005 tem mais de 2 casas decimais; arredonde onde a regra é conhecida",
    ),
    ("set", "receivables/1", "due_on=2026-13-40"): (
        "receivables.due_on: a date such as 2026-11-24 is expected, not '2026-13-40'",
        "receivables.due_on: é preciso uma data como 2026-11-24, não '2026-13-40'",
    ),
    ("set", "stock/1", "balance+=1"): (
        "stock: a node of role gestao may not write it; write it at a node that may (`crdtsync adapters` names the writers)",
        "stock: uma estação gestao não pode gravar aqui; grave numa estação que possa (`crdtsync adapters` diz quais)",
    ),
    ("set", "products", "name=x"): (
        "'products' names no record; write CATEGORY/KEY, such as products/7891",
        "'products' não é um registro; escreva CATEGORIA/CHAVE, como products/7891",
    ),
    ("seen", "x#C01", "--person", "maria"): (
        "people/maria: there is no such person here; add them: crdtsync person DIR maria --name NAME",
        "people/maria: esta pessoa não existe aqui; inclua com: crdtsync person DIR maria --name NOME",
    ),
}


@pytest.mark.parametrize("running", [False, True])
def test_an_error_is_told_in_the_language_of_who_asked_and_in_json_in_english(
    cli: Cli, start: Start, gestao: Path, running: bool
) -> None:
    """The node that runs speaks English: the conftest's environment says so."""
    if running:
        start(gestao)
    for (verb, *rest), (english, portuguese) in REFUSALS.items():
        told = cli(verb, gestao, *rest, "--lang", "pt", "--json", code=2)
        assert portuguese in told.err
        assert english not in told.err
        assert told.json["error"].endswith(english)
        assert english in cli(verb, gestao, *rest, "--lang", "en", code=2).err


def test_a_fault_of_the_folder_is_told_in_the_language_of_who_asked(
    cli: Cli, tmp_path: Path, gestao: Path
) -> None:
    missing = cli("status", tmp_path / "nada", "--lang", "pt", "--json", code=3)
    assert "este arquivo não existe; crie a estação com `crdtsync init" in missing.err
    assert "there is no such file; make the node with `crdtsync init" in missing.json["error"]
    no_store = cli("init", tmp_path / "loja1", "--role", "loja", "--lang", "pt", "--json", code=2)
    assert "falta store; toda estação loja pertence a uma loja" in no_store.err
    assert "store is missing; a loja belongs to a store" in no_store.json["error"]
    asleep = cli("sync", gestao, "--lang", "pt", code=3)
    assert f"não há estação em execução aqui; inicie com: crdtsync run {gestao}" in asleep.err
    path = gestao / "node.toml"
    path.write_text(path.read_text(encoding="utf-8") + 'upstrem = "ws://127.0.0.1:7400"\n', encoding="utf-8")
    wrong = cli("status", gestao, "--lang", "pt", "--json", code=3)
    assert "chave desconhecida 'upstrem'; você quis dizer 'upstream'?; apague-a ou corrija-a" in wrong.err
    assert "unknown key 'upstrem'; did you mean 'upstream'?; remove or correct it" in wrong.json["error"]


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
