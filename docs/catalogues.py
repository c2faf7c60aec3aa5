"""`python docs/catalogues.py`: bring the catalogues of texts for people up to date with the source, and compile them.

A new text appears in `crdtsync/locale/pt_BR/LC_MESSAGES/crdtsync.po` without a translation; write it there and run this
again. English needs none: its texts are those of the source. The compiled catalogues are committed, so that a fresh
clone and a wheel work alike without a step of their own; `tests/cli/test_words.py` fails when any of it is out of date.
"""

# ruff: noqa: INP001 - a script beside the catalogues that it brings up to date, not a package.

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from crdtsync.cli import main
from crdtsync.cli.words import help_parts
from crdtsync.locale import DOMAIN, FOLDER, LOCALES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "crdtsync"
# The test kit speaks to programmers.
METHODS = [("testing/**", "ignore"), ("**.py", "python")]
PLURALS = {"pt_BR": "(n > 1)", "en": "(n != 1)"}
NEVER = datetime(2026, 1, 1, tzinfo=UTC)
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2), "say": None}


class Texts(Catalog):
    """A catalogue that is the same whichever Babel writes it: plural forms are those above, its version is left out."""

    num_plurals = 2

    @property
    def plural_expr(self) -> str:
        """Which of the two a number takes."""
        return PLURALS[str(self.locale)]

    @property  # type: ignore[misc] # nobody sets it
    def mime_headers(self) -> list[tuple[str, str]]:
        """The head of the file."""
        return [(name, value) for name, value in super().mime_headers if name != "Generated-By"]


def texts() -> Iterator[str | tuple[str, str]]:
    """Every text of the source, once, by file and line, then the help of the commands; a pair is one and many."""
    found: dict[str | tuple[str, str], None] = {}
    for _, _, message, _, _ in extract_from_dir(SOURCE, METHODS, keywords=KEYWORDS):
        found[message if isinstance(message, str) else (message[0], message[1])] = None
    for command in (main, *main.built_in().values()):
        if not command.callback.__module__.startswith("crdtsync."):
            continue
        found |= {part: None for part, is_prose in help_parts(command.help or "") if is_prose}
        found |= {one.help: None for one in command.params if isinstance(one, click.Option) and one.help}
    yield from found


def path_of(locale: str, kind: str) -> Path:
    """The catalogue of a locale: kind `po` is edited, `mo` is compiled."""
    return FOLDER / locale / "LC_MESSAGES" / f"{DOMAIN}.{kind}"


def current(locale: str) -> Catalog:
    """Return the catalogue as it should be: every text of the source with the translation that it has."""
    known = Catalog(locale=locale)
    if path_of(locale, "po").exists():
        with path_of(locale, "po").open("rb") as file:
            known = read_po(file, locale=locale, domain=DOMAIN)
    # No dates and no people: the same source gives the same file.
    fresh = Texts(
        locale=locale,
        domain=DOMAIN,
        header_comment=f"# What the command line and the local API say, {locale}; see docs/catalogues.py.",
        project="crdtsync",
        version="",
        msgid_bugs_address="-",
        creation_date=NEVER,
        revision_date=NEVER,
        last_translator="-",
        language_team="-",
        fuzzy=False,
    )
    for text in texts():
        message = known.get(text[0] if isinstance(text, tuple) else text)
        said = message.string if message else ""
        if locale == "en":
            said = text
        fresh.add(text, said)
    return fresh


def written(catalogue: Catalog) -> bytes:
    """Return the catalogue as the text that people edit."""
    out = io.BytesIO()
    write_po(out, catalogue, width=110, omit_header=False, no_location=True)
    return out.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """Return the catalogue as gettext reads it."""
    out = io.BytesIO()
    write_mo(out, catalogue)
    return out.getvalue()


def untranslated(catalogue: Catalog) -> list[object]:
    """Return the texts of a catalogue that have no translation."""
    return [one.id for one in catalogue if one.id and not (one.string and all(one.string))]


if __name__ == "__main__":
    for name in LOCALES.values():
        catalogue = current(name)
        path_of(name, "po").parent.mkdir(parents=True, exist_ok=True)
        path_of(name, "po").write_bytes(written(catalogue))
        path_of(name, "mo").write_bytes(compiled(catalogue))
        missing = untranslated(catalogue)
        print(f"{name}: {len(catalogue)} texts, {len(missing)} without a translation")  # noqa: T201
        for text in missing:
            print(f"  {text}")  # noqa: T201
