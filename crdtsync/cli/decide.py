"""Verbs of pendencies: list them, read one as a card, settle them, take a decision back, say who people are."""

from __future__ import annotations

import asyncio
import csv
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import click
from rich.console import Console, Group
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from crdtsync.cli import words
from crdtsync.cli.output import (
    FINDING,
    Misuse,
    Verb,
    ask,
    asking,
    console,
    folder_argument,
    output_options,
    print_json,
)
from crdtsync.cli.track import DIRECTIONS, SEVERITIES, TRIGGERS, print_cursor
from crdtsync.cli.words import _, named, ngettext
from crdtsync.locale import N_
from crdtsync.ownership import hand_over
from crdtsync.said import from_form, say
from crdtsync.schema import Role, Severity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from crdtsync.cli.output import Ask

_PAGE_ROWS = 1_000
_BULK_ROWS = 100
_FIELDS_SHOWN = 6
_REFUSED_SHOWN = 8
_WAITING_SHOWN = 12
F = TypeVar("F", bound="Callable[..., Any]")

OWNERS = {"gestao": "Gestão", "loja": "Loja", "caixa": "Caixa"}
STATUSES = {"open": (N_("Open"), "yellow"), "decided": (N_("Resolved"), "green")}
ACTS = {
    "vista": N_("Seen by {name}"),
    "nota": N_("Note by {name}"),
    "decisao": N_("Resolved by {name}"),
    "desfeita": N_("Withdrawn by {name}"),
}

_FILTERS = [
    click.option("--rule", metavar="CODE", help="Only this rule, such as C01."),
    click.option("--category", metavar="CATEGORY", help="Only this category."),
    click.option(
        "--owner", type=click.Choice([role.value for role in Role]), help="Only those of this role."
    ),
    click.option(
        "--severity",
        type=click.Choice([one.value for one in Severity]),
        help="Only this severity: B blocks, A a person decides, M merged, I information.",
    ),
]


def _filters(command: F) -> F:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def _person_options(command: F) -> F:
    """Give a command ``--person`` and ``--pin``."""
    person = click.option(
        "--person",
        envvar="CRDTSYNC_PERSON",
        show_envvar=True,
        required=True,
        metavar="ID",
        help="Who does it, a record of `people`.",
    )
    pin = click.option(
        "--pin", metavar="PIN", help="The person's PIN, if they have one; asked for when it is not given."
    )
    marked: F = person(pin(command))
    return marked


@click.command(cls=Verb)
@folder_argument
@_filters
@click.option(
    "--status",
    type=click.Choice(["open", "decided", "all"]),
    default="open",
    show_default=True,
    help="Open, already resolved, or both.",
)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1_000), help="Rows at most.")
@click.option("--after", metavar="CURSOR", help="Go on after this page.")
@click.option(
    "--csv", "file", metavar="FILE", help="Write all that match to a file for a spreadsheet; - is the output."
)
@output_options
def pendencies(folder: Path, file: str | None, *, as_json: bool, **asked: Any) -> None:
    """List the pendencies (Pendências), the gravest first.

    Example: crdtsync pendencies loja1 --severity A --owner loja
    """
    if file is not None:
        written = asyncio.run(_export(folder, file, asked))
        if as_json and file != "-":
            print_json({"file": file, "pendencies": written})
        elif file != "-":
            click.echo(ngettext("{n} pendency written", "{n} pendencies written", written) + f": {file}")
        return
    page = asyncio.run(ask(folder, "pendencies", **asked))
    print_json(page) if as_json else _print_pendencies(page, asked)


def _print_pendencies(page: dict[str, Any], asked: dict[str, Any]) -> None:
    out = console()
    counts = _counted(page["counts"], asked)
    out.print(Text.assemble((_("Pendencies"), "bold"), "  ", counts))
    if not page["pendencies"]:
        out.print(Text(_("No pendency."), style="green"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(no_wrap=True, justify="right")
    for row in page["pendencies"]:
        text, style = SEVERITIES[row["severity"]]
        status, colour = STATUSES[row["status"]]
        what = Text.assemble((row["title"], "bold"), (f"  {row['rule']} · {row['category_title']}", "dim"))
        what.append(f"\n{row['message']}\n")
        what.append(row["id"], style="dim cyan")
        owner = Text(words.age(row["age_seconds"]), style="")
        owner.append(f"\n{OWNERS[row['owner']]}", style="dim")
        if row["status"] != "open":
            owner.append(f"\n{_(status)}", style=colour)
        table.add_row(Text(f" {_(text)} ", style=style), what, owner)
        table.add_row("", "", "")
    out.print(table)
    shown, total = len(page["pendencies"]), page["total"]
    if shown < total:
        out.print(
            Text(_("{shown} of {total} shown").format(shown=shown, total=words.count(total)), style="dim")
        )
    print_cursor(out, page["after"])


def _counted(counts: list[dict[str, Any]], asked: dict[str, Any]) -> Text:
    """Those that are listed, by severity, then by owner; nothing where the counts do not tell them apart."""
    if asked["rule"] is not None or asked["category"] is not None:
        return Text()
    still = [
        entry
        for entry in counts
        if all(asked[name] in {None, "all", entry[name]} for name in ("severity", "owner", "status"))
    ]
    parts: list[Any] = []
    for severity, (text, style) in SEVERITIES.items():
        number = sum(entry["count"] for entry in still if entry["severity"] == severity)
        if number:
            parts += [(f" {_(text)} {words.count(number)} ", style), " "]
    for owner, title in OWNERS.items():
        number = sum(entry["count"] for entry in still if entry["owner"] == owner)
        if number:
            parts.append((f" {title} {words.count(number)}", "dim"))
    return Text.assemble(*parts)


async def _pages(asked: Ask, filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    after = filters.get("after")
    while True:
        page = await asked("pendencies", **{**filters, "after": after, "limit": _PAGE_ROWS})
        yield page
        after = page["after"]
        if after is None:
            return


async def _export(folder: Path, file: str, filters: dict[str, Any]) -> int:
    """Write a file that the spreadsheet of the language opens as it is: its separator, and a mark that says UTF-8."""
    written = 0
    names = [_(name) for name in _COLUMNS]
    async with asking(folder) as asked:
        # What is wrong with the request is said before a file is touched.
        await asked("pendencies", **{**filters, "limit": 1})
        out = sys.stdout if file == "-" else Path(file).open("w", encoding="utf-8-sig", newline="")  # noqa: ASYNC230, SIM115
        if file != "-":
            hand_over(Path(file), folder)
        try:
            sheet = csv.writer(out, delimiter=";" if words.language() == "pt" else ",")
            sheet.writerow(names)
            async for page in _pages(asked, filters):
                zone = ZoneInfo(page["time_zone"])
                for row in page["pendencies"]:
                    sheet.writerow([_harmless(value) for value in _cells(row, zone)])
                    written += 1
        finally:
            if file != "-":
                out.close()
    return written


_COLUMNS = (
    N_("Severity"),
    N_("Rule"),
    N_("Pendency"),
    N_("What happened"),
    N_("Effect if nothing is done"),
    N_("Category"),
    N_("Keys"),
    N_("Owner"),
    N_("Situation"),
    N_("Direction"),
    N_("Synchronization"),
    N_("Since"),
    N_("Number"),
)


def _cells(row: dict[str, Any], zone: ZoneInfo) -> list[str]:
    status, _colour = STATUSES[row["status"]]
    since = datetime.fromtimestamp(row["opened_ms"] / 1000, UTC).astimezone(zone)
    return [
        row["severity"],
        row["rule"],
        row["title"],
        row["message"],
        row["effect"],
        row["category_title"],
        " ".join(row["keys"]),
        OWNERS[row["owner"]],
        _(status),
        named(DIRECTIONS, row["direction"]),
        "" if row["run"] is None else str(row["run"]),
        since.strftime("%Y-%m-%d %H:%M"),
        row["id"],
    ]


def _harmless(text: str) -> str:
    """A spreadsheet would run a text that begins like a formula; an apostrophe makes it a text again."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


@click.command(cls=Verb)
@folder_argument
@click.argument("pendency_id", metavar="ID")
@output_options
def pendency(folder: Path, pendency_id: str, *, as_json: bool) -> None:
    """Show one pendency as a card.

    What happened, the records, the effect if nothing is done, the suggestion, the other options, and who did what.

    Example: crdtsync pendency loja1 stock/loja1/834103#C01
    """
    card = asyncio.run(ask(folder, "pendency", pendency=pendency_id))
    print_json(card) if as_json else _print_card(card, folder)


def _print_card(card: dict[str, Any], folder: Path) -> None:
    out = console()
    text, style = SEVERITIES[card["severity"]]
    status, colour = STATUSES[card["status"]]
    out.print(Text.assemble((f" {_(text)} ", style), " ", (card["title"], "bold"), f"  {card['rule']}"))
    out.print(Text(card["id"], style="dim cyan"))
    grid = Table.grid(padding=(0, 2))
    for name, value in _card_facts(card):
        grid.add_row(Text(name, style="dim"), Text(value))
    grid.add_row(Text(_("Situation"), style="dim"), Text(_(status), style=colour))
    out.print(grid)
    _section(out, _("What happened"), Text(card["message"]))
    _section(out, _("Records involved"), Group(*map(_shown, card["records"])))
    if card["records_total"] > len(card["records"]):
        left = card["records_total"] - len(card["records"])
        out.print(Text("  " + ngettext("and {n} more", "and {n} more", left), style="dim"))
    if card["waiting"]:
        _section(out, _("Waiting for this pendency"), *map(_waiting, card["waiting"][:_WAITING_SHOWN]))
        if card["waiting_more"] or len(card["waiting"]) > _WAITING_SHOWN:
            out.print(Text("  " + _("and more"), style="dim"))
    _section(out, _("Effect if nothing is done"), Text(card["effect"] or "–"))
    options = card["options"]
    _section(out, _("Suggestion"), *(_option(one) for one in options[:1]))
    _section(out, _("Other options"), *(_option(one) for one in options[1:]))
    if card["acts"]:
        zone, now = card["time_zone"], card["now_ms"]
        _section(out, _("Who did what, when and why"), *(_done(act, zone, now) for act in card["acts"]))
    chosen = next((one for one in options if one["allowed"]), None)
    if chosen is not None and card["status"] == "open":
        values = "".join(f" --with {name}=…" for name in chosen["asks"])
        command = f"crdtsync resolve {folder} '{card['id']}' {chosen['name']} --why …{values}"
        out.print()
        out.print(Text(command, style="dim"), soft_wrap=True)


def _card_facts(card: dict[str, Any]) -> list[tuple[str, str]]:
    run = card["synchronization"]
    came = named(DIRECTIONS, card["direction"])
    if run is not None:
        trigger = named(TRIGGERS, run["trigger"])
        when = words.moment(run["started_ms"], card["time_zone"], card["now_ms"])
        came += f" · #{run['id']} {trigger}, {when}"
    elif card["run"] is not None:
        came += f" · #{card['run']}"
    opened = words.moment(card["opened_ms"], card["time_zone"], card["now_ms"])
    return [
        (_("Category"), card["category_title"]),
        (_("Keys"), ", ".join(dict.fromkeys(card["keys"]))),
        (_("Owner"), OWNERS[card["owner"]]),
        (_("Since"), f"{opened} ({words.age(card['age_seconds'])})"),
        (_("Came with"), came),
    ]


def _section(out: Console, title: str, *body: Any) -> None:
    if body:
        out.print()
        out.print(Text(title, style="bold underline"))
        out.print(Padding(Group(*body), (0, 0, 0, 2)))


def _shown(record: dict[str, Any]) -> Text:
    values = [
        f"{name} {value}"
        for name, value in record["values"].items()
        if value not in (None, "", [], record["key"]) and not isinstance(value, (list, dict))
    ]
    line = Text.assemble((f"{record['category_title']} {record['key']}", "bold"))
    if record["deleted"]:
        line.append(" " + _("(deleted)"), style="red")
    line.append(f"  {record['doc']}", style="dim")
    if values:
        line.append("\n" + " · ".join(values[:_FIELDS_SHOWN]))
    return line


def _waiting(record: dict[str, Any]) -> Text:
    """A record that waits for the pendency, because it refers to one that the pendency shows."""
    return Text.assemble(f"{record['category_title']} {record['key']}", (f"  {record['doc']}", "dim"))


def _option(option: dict[str, Any]) -> Text:
    line = Text.assemble(
        (option["name"], "bold green" if option["allowed"] else "dim"), f"  {option['title']}"
    )
    if option["text"]:
        line.append(f" — {option['text']}", style="dim")
    if option["asks"]:
        line.append("  " + _("asks for: {names}").format(names=", ".join(option["asks"])), style="yellow")
    if not option["allowed"]:
        names = ", ".join(OWNERS[role] for role in option["by"])
        line.append("  " + _("only at: {names}").format(names=names), style="yellow")
    return line


def _done(act: dict[str, Any], zone: str, now_ms: int) -> Text:
    who = named(ACTS, act["act"]).format(name=act["person_name"])
    line = Text.assemble((who, "bold"), f" · {words.moment(act['at_ms'], zone, now_ms)}")
    if act["option"]:
        line.append(f" · {act['option_title'] or act['option']}")
    line.append("".join(f" · {name} {value}" for name, value in act["values"].items()))
    if act["why"]:
        line.append(f"\n“{act['why']}”")
    if act["withdrawn"]:
        line.append("  " + _("withdrawn"), style="yellow")
    if not act["this_episode"]:
        line.append("  " + _("about an earlier case"), style="dim")
    line.append(f"  {act['id']}", style="dim cyan")
    return line


@click.command(cls=Verb)
@folder_argument
@click.argument("words_given", metavar="[ID] OPTION", nargs=-1, required=True)
@_filters
@click.option("--why", required=True, metavar="TEXT", help="The reason; it stays with the decision.")
@click.option("--with", "values", multiple=True, metavar="NAME=VALUE", help="What the option asks for.")
@_person_options
@output_options
def resolve(
    folder: Path,
    words_given: tuple[str, ...],
    why: str,
    values: tuple[str, ...],
    person: str,
    pin: str | None,
    *,
    as_json: bool,
    **filters: Any,
) -> None:
    """Settle a pendency, or all of a rule, with an option.

    Works offline; the decision reaches every node. Exit code 1 when some of many could not be settled.

    Example: crdtsync resolve loja1 stock/loja1/834103#C01 aceitar --why "chega amanhã" --person maria

    Example: crdtsync resolve loja1 --rule C01 --category stock aceitar --why "semana de festa" --person maria
    """
    *named, option = words_given
    if len(named) != (0 if filters["rule"] else 1):
        raise Misuse(say("write either DIR ID OPTION, or DIR --rule CODE OPTION"))
    if named and any(filters.values()):
        raise Misuse(say("--category, --owner and --severity go with --rule"))
    said = {"option": option, "why": why, "values": _assigned(values), "person": person}
    if named:
        answer = asyncio.run(_decide(folder, "resolve", pin, pendency=named[0], **said))
        print_json(answer) if as_json else _print_decided(folder, answer["decision"])
        return
    answer = asyncio.run(_decide_all(folder, pin, {**filters, **said}, bars=not as_json))
    print_json(answer) if as_json else _print_bulk(answer)
    if answer["refused"]:
        sys.exit(FINDING)


def _assigned(values: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for one in values:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise Misuse(say("--with {given}: write NAME=VALUE", given=repr(one)))
        found[name] = value
    return found


def _print_decided(folder: Path, decision: str) -> None:
    click.echo(_("Resolved: {decision}").format(decision=decision))
    undo_it = f"crdtsync undo {folder} {decision} --why …"
    click.echo(_("To take it back: {command}").format(command=undo_it))


async def _decide(folder: Path, verb: str, pin: str | None, **said: Any) -> dict[str, Any]:
    async with asking(folder) as asked:
        pin = await _pin(asked, said["person"], pin)
        answer: dict[str, Any] = await asked(verb, pin=pin, **said)
        return answer


async def _pin(asked: Ask, person: str, pin: str | None) -> str | None:
    """Return the PIN that was given, or ask the person at the terminal for it if they have one."""
    if pin is None and sys.stdin.isatty() and (await asked("person", person=person))["has_pin"]:
        typed: str = click.prompt(_("PIN of {person}").format(person=person), hide_input=True, err=True)
        return typed
    return pin


async def _decide_all(folder: Path, pin: str | None, said: dict[str, Any], *, bars: bool) -> dict[str, Any]:
    decisions: list[str] = []
    refused: dict[str, str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with asking(folder) as asked:
        pin = await _pin(asked, said["person"], pin)
        with Progress(*columns, console=Console(stderr=True), transient=True, disable=not bars) as progress:
            task = progress.add_task(_("Pendencies"), total=None)
            after, total = None, None
            while True:
                page = await asked("resolve_all", pin=pin, after=after, limit=_BULK_ROWS, **said)
                total = page["total"] if total is None else total
                decisions += page["decisions"]
                # A node of an older version does not say what its texts were made of.
                forms = page.get("said", {})
                refused |= {name: from_form(text, forms.get(name)) for name, text in page["refused"].items()}
                progress.update(task, total=total, completed=len(decisions) + len(refused))
                after = page["after"]
                if after is None:
                    return {"decided": len(decisions), "decisions": decisions, "refused": refused}


def _print_bulk(answer: dict[str, Any]) -> None:
    click.echo(ngettext("{n} pendency resolved", "{n} pendencies resolved", answer["decided"]))
    refused = answer["refused"]
    if refused:
        click.echo(ngettext("{n} could not be resolved:", "{n} could not be resolved:", len(refused)))
    for name, text in list(refused.items())[:_REFUSED_SHOWN]:
        reason = words.said(text)
        click.echo(f"  {reason if name in reason else f'{name}: {reason}'}")
    if len(refused) > _REFUSED_SHOWN:
        more = len(refused) - _REFUSED_SHOWN
        click.echo("  " + ngettext("and {n} more", "and {n} more", more))


@click.command(cls=Verb)
@folder_argument
@click.argument("decision")
@click.option("--why", required=True, metavar="TEXT", help="Why it is taken back.")
@_person_options
@output_options
def undo(folder: Path, decision: str, why: str, person: str, pin: str | None, *, as_json: bool) -> None:
    """Take a decision back.

    A further fact withdraws it; what its option wrote stays written.

    Example: crdtsync undo loja1 a959a3464e166bc01f56 --why "era outro produto" --person maria
    """
    answer = asyncio.run(_decide(folder, "undo", pin, decision=decision, why=why, person=person))
    print_json(answer) if as_json else click.echo(_("Taken back; what its option wrote stays written."))


@click.command(cls=Verb)
@folder_argument
@click.argument("pendency_id", metavar="ID")
@_person_options
@output_options
def seen(folder: Path, pendency_id: str, person: str, pin: str | None, *, as_json: bool) -> None:
    """Say that you have seen a pendency.

    Example: crdtsync seen loja1 stock/loja1/834103#C01 --person maria
    """
    answer = asyncio.run(_decide(folder, "seen", pin, pendency=pendency_id, person=person))
    print_json(answer) if as_json else click.echo(_("Noted."))


@click.command(cls=Verb)
@folder_argument
@click.argument("pendency_id", metavar="ID")
@click.argument("text")
@_person_options
@output_options
def note(folder: Path, pendency_id: str, text: str, person: str, pin: str | None, *, as_json: bool) -> None:
    """Add a note to a pendency.

    Example: crdtsync note loja1 stock/loja1/834103#C01 "liguei para compras" --person maria
    """
    answer = asyncio.run(_decide(folder, "note", pin, pendency=pendency_id, text=text, person=person))
    print_json(answer) if as_json else click.echo(_("Noted."))


@click.command(cls=Verb)
@folder_argument
@click.argument("person_id", metavar="ID")
@click.option("--name", help="The person's name; adds them when they are new.")
@click.option(
    "--pin",
    "new_pin",
    prompt="PIN",
    prompt_required=False,
    hide_input=True,
    confirmation_prompt=True,
    metavar="[PIN]",
    help="Give the person this PIN; asked for when none is written.",
)
@click.option("--old-pin", metavar="PIN", help="Their PIN so far, to change it; not needed at Gestão.")
@output_options
def person(
    folder: Path, person_id: str, name: str | None, new_pin: str | None, old_pin: str | None, *, as_json: bool
) -> None:
    """Show a person, add one, or set their PIN.

    Example: crdtsync person loja1 maria --name "Maria Souza" --pin
    """
    said = {"person": person_id, "name": name, "new_pin": new_pin, "pin": old_pin}
    facts = asyncio.run(ask(folder, "person", **said))
    if as_json:
        print_json(facts)
        return
    pin = _("with a PIN") if facts["has_pin"] else _("without a PIN")
    active = "" if facts["active"] else ", " + _("inactive")
    job = f", {facts['job']}" if facts["job"] else ""
    click.echo(f"{facts['id']}: {facts['name']}{job}, {pin}{active}")
