"""The languages of texts for people, and their gettext catalogues; ``python docs/catalogues.py`` brings these up to date.

Whoever shows a text knows its reader's language: the command line by ``--lang``, the local API by ``Accept-Language``.
"""

from __future__ import annotations

import gettext
from functools import cache
from pathlib import Path

from crdtsync.said import retell

DOMAIN = "crdtsync"
FOLDER = Path(__file__).parent
LOCALES = {"pt": "pt_BR", "en": "en"}
"""Language -> the locale that its texts, dates and numbers have."""


def N_(message: str) -> str:  # noqa: N802 - gettext's name for "a text, translated where it is shown"
    """Mark a text in a table; it is translated when it is shown."""
    return message


@cache
def catalogue(locale: str) -> gettext.NullTranslations:
    """Return the texts of a locale."""
    return gettext.translation(DOMAIN, FOLDER, [locale])


def told(text: str, language: str) -> str:
    """Return a text in a language (``pt``, ``en``), as far as it was made with ``say``."""
    return retell(text, catalogue(LOCALES[language]).gettext)
