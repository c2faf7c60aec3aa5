"""What a person reads, in Portuguese or English: texts from gettext catalogues, dates and numbers from Babel.

``--lang`` chooses; else the environment (LC_ALL, LC_MESSAGES, LANG) does. JSON never passes through here: its words are
stable and English. In the source a text is English inside ``_()``, or ``N_()`` where a table names it; that of an error,
which is raised where no language is known, inside ``say()`` (``crdtsync/said.py``). ``crdtsync/locale`` has the catalogues.
"""

from __future__ import annotations

import inspect
import os
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click
from babel.dates import format_date, format_datetime, format_time, format_timedelta
from babel.numbers import format_decimal, format_percent

from crdtsync.locale import LOCALES, catalogue, told
from crdtsync.said import from_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_META = "crdtsync.lang"
# click's mark for "keep these lines".
_KEPT = "\b"
_EXAMPLE = "Example:"


def from_environment(environment: Mapping[str, str] = os.environ) -> str:
    """Return ``pt`` or ``en``: the first of LC_ALL, LC_MESSAGES and LANG that says anything decides."""
    said = next(
        (environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), ""
    )
    return "pt" if said.lower().startswith("pt") else "en"


def language() -> str:
    """Return the language of the command that runs: ``pt`` or ``en``."""
    context = click.get_current_context(silent=True)
    chosen = context.meta.get(_META) if context else None
    return chosen or from_environment()


def _choose(ctx: click.Context, _option: click.Parameter, value: str | None) -> None:
    # All contexts of a call share `meta`: said before the verb or after it, it holds for both.
    if value is not None:
        ctx.meta[_META] = value


lang_option: Callable[[Any], Any] = click.option(
    "--lang",
    type=click.Choice(list(LOCALES)),
    expose_value=False,
    is_eager=True,
    callback=_choose,
    help="Language of the texts; by default that of the environment (LC_ALL, LANG).",
)


def locale() -> str:
    """Return the locale of the command that runs."""
    return LOCALES[language()]


def _(message: str) -> str:
    """Return a text in the language of the command that runs."""
    return catalogue(locale()).gettext(message)


def said(text: str) -> str:
    """Return the text of an error in the language of the command that runs, as far as it was made with ``say``."""
    return told(text, language())


def told_of(facts: Mapping[str, Any], name: str) -> str:
    """Return a text of a node's answer, whose form is ``said`` beside it, in the language of the command that runs."""
    return said(from_form(facts[name] or "", facts.get("said")))


def named(table: Mapping[str, str], code: str) -> str:
    """Return what a table of ``N_()`` texts says of a code; the code itself when it says nothing."""
    return _(table[code]) if code in table else code


def ngettext(one: str, many: str, number: int) -> str:
    """Return the text for a number; ``{n}`` in it becomes the number."""
    return catalogue(locale()).ngettext(one, many, number).format(n=count(number))


def help_parts(text: str) -> list[tuple[str, bool]]:
    """Return the paragraphs of a command's help, each with whether it is prose: examples and kept lines are not."""
    parts = inspect.cleandoc(text).split("\n\n")
    return [
        (part, False) if part.startswith((_KEPT, _EXAMPLE)) else (" ".join(part.split()), True)
        for part in parts
    ]


def help_text(text: str) -> str:
    """Return the help of a command in the language of the command that runs."""
    said = [_(part) if prose else part for part, prose in help_parts(text)]
    return "\n\n".join(said).replace(_EXAMPLE, _("Example:"))


def count(number: float) -> str:
    """Return a number with the separators of the language."""
    return format_decimal(number, locale=locale())


def percent(number: int) -> str:
    """Return a percentage, given as a whole number from 0 to 100."""
    return format_percent(number / 100, locale=locale())


def size(number: int) -> str:
    """Return a size in bytes, kB or MB (of 1,000)."""
    for unit, one in (("MB", 1_000_000), ("kB", 1_000)):
        if number >= one:
            return f"{format_decimal(round(number / one, 1), locale=locale())} {unit}"
    return f"{number} B"


def moment(at_ms: int, zone: str, now_ms: int | None = None) -> str:
    """Return a moment of a time zone: the time alone when it is on the day of ``now_ms``."""
    where = ZoneInfo(zone)
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    if now_ms is not None and _day(at_ms, where) == _day(now_ms, where):
        return format_time(at, "short", tzinfo=where, locale=locale())
    return format_datetime(at, "short", tzinfo=where, locale=locale())


def clock(at_ms: int, zone: str) -> str:
    """Return the time of day of a moment."""
    return format_time(
        datetime.fromtimestamp(at_ms / 1000, UTC), "short", tzinfo=ZoneInfo(zone), locale=locale()
    )


def _day(at_ms: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(at_ms / 1000, zone).date()


def day(text: str, today: str) -> str:
    """Return a day, given as ISO text, as people say it: today, yesterday, or weekday and date."""
    at, now = date.fromisoformat(text), date.fromisoformat(today)
    if at == now:
        return _("Today")
    if at == now - timedelta(days=1):
        return _("Yesterday")
    return format_date(at, "full", locale=locale())


def age(seconds: float) -> str:
    """Return how long ago something was, as people say it: há 3 min."""
    ago = timedelta(seconds=-max(1.0, seconds))
    # Babel abbreviates "min." with a period, which would end the sentence that it is part of.
    said: str = format_timedelta(ago, locale=locale(), add_direction=True, threshold=1.0, format="short")
    return said.replace(".", "")


def span(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 1:
        return _("under 1 second")
    return format_timedelta(timedelta(seconds=seconds), locale=locale(), threshold=1.5)


def countdown(seconds: float) -> str:
    """Return minutes and seconds, or hours, minutes and seconds: 4:32, 1:02:03."""
    left = max(0, round(seconds))
    hours, minutes = divmod(left // 60, 60)
    return f"{hours}:{minutes:02}:{left % 60:02}" if hours else f"{minutes}:{left % 60:02}"


def inside(title: str) -> str:
    """Return a title as it is written inside a sentence: "produtos", but "CFOP"."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def listed(titles: Iterable[str]) -> str:
    """Return titles as a list inside a sentence."""
    return ", ".join(map(inside, titles))
