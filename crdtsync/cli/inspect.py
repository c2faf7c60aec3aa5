"""Verbs that look: records, state, integrity, adapters."""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import entry_points
from importlib.metadata import version as distribution_version
from typing import TYPE_CHECKING, Any

import click

from crdtsync.cli.output import (
    FINDING,
    Verb,
    ask,
    folder_argument,
    offline,
    output_options,
    print_facts,
    print_json,
    print_rows,
    progress,
    store_option,
)
from crdtsync.cli.track import ALERTS, LINKS
from crdtsync.cli.words import _, named, told_of
from crdtsync.errors import ControlError
from crdtsync.locale import N_
from crdtsync.node import load_config
from crdtsync.node.caller import call
from crdtsync.protocol.frames import PROTOCOL
from crdtsync.said import say
from crdtsync.schema import load_installed
from crdtsync.schema.schema import ENTRY_POINTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_FACTS = {
    "device": N_("Device"),
    "role": N_("Role"),
    "store": N_("Store"),
    "account": N_("Account"),
    "replica": N_("Replica"),
    "upstream": N_("Node above"),
    "connected": N_("Connected"),
    "trouble": N_("Trouble"),
    "initial_done": N_("Initial synchronization done"),
    "below": N_("Nodes below"),
    "alerts": N_("Alerts"),
    "documents": N_("Documents"),
    "loaded": N_("Documents in memory"),
    "records": N_("Records"),
    "waiting": N_("Waiting to be sent"),
    "pendencies": N_("Pendencies"),
    "pendencies_by_severity": N_("Pendencies by severity"),
    "pendencies_by_owner": N_("Pendencies by owner"),
}
# What `queue` and `alerts` show in words.
_ELSEWHERE = {"link", "heard_ms"}
_STANDS_STILL = {"paused", "paused_above"}


@click.command(cls=Verb)
@folder_argument
@click.argument("what", metavar="CATEGORY[/KEY]", required=False)
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Records at most."
)
@store_option
@output_options
def show(folder: Path, what: str | None, limit: int, store: str | None, *, as_json: bool) -> None:
    """Show records; without a category, how many there are of each.

    Several stores may use one key: all of them are shown, unless you name one.

    Example: crdtsync show gestao stock/834103 --store loja1
    """
    if what is None:
        facts = asyncio.run(ask(folder, "status"))["records"]
        if facts or as_json:
            (print_json if as_json else print_facts)(facts)
        else:
            print_rows([])
        return
    category, _slash, key = what.partition("/")
    asked = {"category": category, "key": key or None, "limit": limit + 1, "store": store}
    rows = asyncio.run(ask(folder, "show", **asked))
    more = len(rows) > limit
    if as_json:
        print_json({"records": rows[:limit], "more": more})
        return
    print_rows(rows[:limit])
    if more:
        click.echo(_("There are more; say how many to show: --limit"), err=True)


@click.command(cls=Verb)
@folder_argument
@output_options
def status(folder: Path, *, as_json: bool) -> None:
    """Say who the node is, what waits, and what needs a person.

    Its link to the node above, records held and records waiting to be sent, open pendencies, alerts. Works whether or
    not the node runs; the link is only known while it does.

    Example: crdtsync status loja1
    """
    facts = asyncio.run(ask(folder, "status"))
    # A store that was opened only to look at it has no link; the configuration still says where it would go.
    facts["upstream"] = load_config(folder).upstream
    if as_json:
        print_json(facts)
        return
    for name in ("connected", "initial_done"):
        facts[name] = _("yes") if facts[name] else _("no")
    if facts["link"]["state"] in _STANDS_STILL:
        facts["connected"] += f" ({_(LINKS[facts['link']['state']][0])})"
    if facts["trouble"] and facts["link"]["detail"]:
        facts["trouble"] = told_of(facts["link"], "detail")
    if facts["alerts"]:
        facts["alerts"] = [_alert(one) for one in asyncio.run(ask(folder, "alerts"))["alerts"]]
    print_facts({named(_FACTS, name): value for name, value in facts.items() if name not in _ELSEWHERE})


def _alert(alert: dict[str, Any]) -> str:
    detail = told_of(alert, "detail")
    return f"{named(ALERTS, alert['code'])} · {alert['subject']}" + (f": {detail}" if detail else "")


@click.command(cls=Verb)
@folder_argument
@output_options
def verify(folder: Path, *, as_json: bool) -> None:
    """Check a stopped node's store; exit 1 on a finding.

    Every row's checksum, and every document folded again and compared with what is shown.

    Example: crdtsync verify loja1
    """
    with progress(_("Documents"), hidden=as_json) as watch:
        report = asyncio.run(checked(folder, watch))
    if as_json:
        print_json(report)
    else:
        print_facts({_("Documents"): len(report["digests"]), _("Records"): report["records"]})
        for finding in report["findings"]:
            click.echo(f"  {finding}")
        found = len(report["findings"])
        said = _("findings: {found}; see above, and mend them with: crdtsync repair {folder} CATEGORY")
        click.echo(said.format(found=found, folder=folder) if found else _("all is well"))
    sys.exit(FINDING if report["findings"] else 0)


async def checked(folder: Path, watch: Callable[[int, int], None]) -> dict[str, Any]:
    """Check a stopped node's store; ``watch`` is told documents checked and documents in all.

    Raises:
        ControlError: the node runs.
        StoreMissing: there is no store.
    """
    from crdtsync.node import Node  # noqa: PLC0415 - see output.py
    from crdtsync.node.backup import refuse_missing  # noqa: PLC0415
    from crdtsync.node.verbs import verify as verify_node  # noqa: PLC0415

    config = load_config(folder)
    if await call(folder, "status") is not None:
        raise ControlError(say("{folder}: the node is running; stop it, then verify", folder=folder))
    refuse_missing(config)
    async with Node(offline(config)) as node:
        return await verify_node(node, watch)


@click.command(cls=Verb)
@output_options
def adapters(*, as_json: bool) -> None:
    """List the installed categories in the order of a download.

    Example: crdtsync adapters
    """
    schema = load_installed()
    sources = {p.value: p.dist.name if p.dist else "" for p in entry_points(group=ENTRY_POINTS)}
    rows: list[dict[str, Any]] = []
    for category in schema.order("download"):
        shape, entity = schema.shape(category), schema.entity(category)
        rows.append(
            {
                "category": category,
                "title": shape.title,
                "writers": " ".join(sorted(shape.writers)),
                "partition": "/".join(shape.partition.columns) or "account",
                "waits for": " ".join(schema.dependencies(category)),
                "rules": " ".join(rule.code for rule in shape.invariants),
                "from": sources.get(f"{entity.__module__}:{entity.__qualname__}", ""),
            }
        )
    if as_json:
        print_json({"adapters": rows, "fingerprint": schema.fingerprint})
    else:
        print_rows(rows)


@click.command(cls=Verb)
@output_options
def version(*, as_json: bool) -> None:
    """Say which version this is.

    Example: crdtsync version
    """
    from crdtsync.storage.tables import FORMAT  # noqa: PLC0415 - see output.py

    facts = {"version": distribution_version("crdtsync"), "protocol": PROTOCOL, "store_format": FORMAT}
    if as_json:
        print_json(facts)
    else:
        click.echo("crdtsync {version}, protocol {protocol}, store format {store_format}".format(**facts))
