"""Verbs that look behind a record and beside a node: who changed what, and where two nodes differ."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
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
    store_option,
)
from crdtsync.cli.track import print_cursor
from crdtsync.cli.words import _, named, ngettext
from crdtsync.locale import N_
from crdtsync.said import say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from crdtsync.cli.output import Ask

_PAGE_ROWS = 1_000
_DIGESTS_AT_ONCE = 16

STATES = {
    "current": (N_("shows"), "green"),
    "concurrent": (N_("concurrent, not settled"), "bold yellow"),
    "lost": (N_("lost to a concurrent value"), "red"),
    "replaced": (N_("replaced"), "dim"),
    "counted": (N_("counted"), ""),
}
KINDS = {
    "create": N_("created"),
    "delete": N_("deleted"),
    "restore": N_("restored"),
    "write": "=",
    "move": N_("moved"),
    "named": N_("moved"),
    "total": N_("moved so far"),
    "count": N_("counted as"),
    "add": N_("added"),
    "remove": N_("removed"),
}


@click.command(cls=Verb)
@folder_argument
@click.argument("record", metavar="CATEGORY/KEY")
@click.option("--field", help="Only this field.")
@store_option
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, 1_000), help="Changes at most."
)
@click.option("--after", metavar="CURSOR", help="Go on after this page.")
@output_options
def log(folder: Path, record: str, *, as_json: bool, **asked: Any) -> None:
    """Show who changed what of a record, and what lost.

    Newest first, with the concurrent values that lost. It goes back as far as the log does: a compaction keeps what is alive and drops what was replaced.

    Example: crdtsync log loja1 products/7891 --field price
    """
    category, _slash, key = record.partition("/")
    if not key:
        raise Misuse(
            say("{record} names no record; write CATEGORY/KEY, such as products/7891", record=repr(record))
        )
    facts = asyncio.run(ask(folder, "log", category=category, key=key, **asked))
    print_json(facts) if as_json else _print_log(facts)


def _print_log(facts: dict[str, Any]) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in (_("When"), _("Who"), _("Field"), _("Change"), _("Situation")):
        table.add_column(name)
    written = Counter((change["doc"], change["field"]) for change in facts["changes"])
    for change in facts["changes"]:
        if change["value"] is None and change["kind"] == "write":
            if written[change["doc"], change["field"]] == 1:
                # A field that was left empty at the creation, and never had a value.
                continue
            change["value"] = _("(empty)")
        text, style = STATES[change["state"]]
        who = change["device"] or _("above ({replica})").format(replica=change["replica"][:6])
        said = Text(named(KINDS, change["kind"]))
        if change["value"] is not None:
            said.append(f" {change['value']}", style="bold")
        if change["name"]:
            said.append(f" ({change['name']})", style="dim")
        actor = f" · {change['actor']}" if change["actor"] else ""
        situation = Text(_(text), style=style)
        if change["compacted"]:
            situation.append(" · " + _("compacted"), style="dim")
        when = words.moment(change["at_ms"], facts["time_zone"])
        table.add_row(when, Text(f"{who}{actor}"), Text(change["field"] or ""), said, situation)
    out.print(table)
    print_cursor(out, facts["after"])


@click.command(cls=Verb)
@folder_argument
@click.argument("other", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 1_000),
    help="Records of a document at most.",
)
@output_options
def diff(folder: Path, other: Path, limit: int, *, as_json: bool) -> None:
    """Compare two nodes, running or not; exit 1 if they differ.

    The documents that both hold, and the records that differ. Two nodes that synchronize may differ until the next run.

    Example: crdtsync diff gestao loja1
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=as_json,
    ) as bars:
        task = bars.add_task(_("Documents"), total=None)
        report = asyncio.run(
            _compare(folder, other, limit, lambda done, total: bars.update(task, completed=done, total=total))
        )
    print_json(report) if as_json else _print_diff(report, folder, other)
    sys.exit(FINDING if report["differ"] else 0)


async def _compare(
    folder: Path, other: Path, limit: int, watch: Callable[[int, int], None]
) -> dict[str, Any]:
    async with asking(folder) as left, asking(other) as right:
        here = [doc async for doc in _all(left, "documents")]
        there = {doc async for doc in _all(right, "documents")}
        both = [doc for doc in here if doc in there]
        unlike: list[str] = []
        for at in range(0, len(both), _DIGESTS_AT_ONCE):
            docs = both[at : at + _DIGESTS_AT_ONCE]
            ours, theirs = await left("digests", docs=docs), await right("digests", docs=docs)
            unlike += [doc for doc in docs if ours[doc] != theirs[doc]]
            watch(at + len(docs), len(both))
        return {
            "both": len(both),
            "equal": len(both) - len(unlike),
            "differ": [{"doc": doc, **await _records(left, right, doc, limit)} for doc in unlike],
            "only_first": [doc for doc in here if doc not in there],
            "only_second": sorted(there - set(here)),
        }


async def _all(asked: Ask, verb: str, **args: Any) -> AsyncIterator[Any]:
    """Every row of a verb that answers pages."""
    after = None
    while True:
        page = await asked(verb, after=after, limit=_PAGE_ROWS, **args)
        for row in page["documents" if verb == "documents" else "records"]:
            yield row
        after = page["after"]
        if after is None:
            return


async def _records(left: Ask, right: Ask, doc: str, limit: int) -> dict[str, Any]:
    """Return the records of a document that differ as shown: the keys of the first ``limit``, and how many there are."""
    ours = {key: digest async for key, digest in _all(left, "record_digests", doc=doc)}
    theirs = {key: digest async for key, digest in _all(right, "record_digests", doc=doc)}
    changed = sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key])
    first, second = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    return {
        "records": len(changed) + len(first) + len(second),
        "changed": changed[:limit],
        "only_first": first[:limit],
        "only_second": second[:limit],
    }


def _print_diff(report: dict[str, Any], folder: Path, other: Path) -> None:
    out = console()
    both = ngettext("{n} document in both", "{n} documents in both", report["both"])
    equal = ngettext("{n} equal", "{n} equal", report["equal"])
    out.print(Text(f"{both}, {equal}", style="yellow" if report["differ"] else "green"))
    for entry in report["differ"]:
        told = ngettext("{n} record differs", "{n} records differ", entry["records"])
        out.print(Text.assemble((entry["doc"], "bold"), f": {told}"))
        for name, mark, style in (
            ("changed", "≠", "yellow"),
            ("only_first", "<", "red"),
            ("only_second", ">", "red"),
        ):
            for key in entry[name]:
                out.print(Text(f"  {mark} {key}", style=style))
        if not entry["records"]:
            out.print(Text("  " + _("what is shown is equal; the logs behind it are not"), style="dim"))
    for name, where in (("only_first", folder), ("only_second", other)):
        if report[name]:
            number = ngettext("{n} document", "{n} documents", len(report[name]))
            out.print(Text(_("only at {node}: {number}").format(node=where, number=number), style="dim"))
