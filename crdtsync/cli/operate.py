"""Verbs that work with a node: write a record, repair a category, open the page."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click

from crdtsync.cli.output import (
    FINDING,
    Misuse,
    Verb,
    ask,
    folder_argument,
    output_options,
    print_json,
    print_rows,
    store_option,
)
from crdtsync.cli.words import _
from crdtsync.errors import ConfigError
from crdtsync.monitor.tokens import Level, address_of
from crdtsync.node import load_config
from crdtsync.node.caller import call
from crdtsync.said import say

if TYPE_CHECKING:
    from pathlib import Path


@click.command(cls=Verb)
@folder_argument
@click.option("--reader", is_flag=True, help="For somebody who only looks: nothing can be changed with it.")
@output_options
def monitor(folder: Path, *, reader: bool, as_json: bool) -> None:
    """Print the address of the node's page.

    For a browser on this machine. It holds the token that opens the page; whoever has it may do what you may.

    Example: crdtsync monitor loja1
    """
    config = load_config(folder)
    if not config.monitor:
        raise ConfigError(
            say(
                "{path}: monitor is missing; write monitor = PORT, a free port of this machine",
                path=config.path,
            )
        )
    level = Level.READER if reader else Level.RESOLVER
    address = address_of(folder, config.monitor, level)
    running = asyncio.run(call(folder, "alerts")) is not None
    if as_json:
        print_json({"address": address, "role": level.value, "running": running})
    else:
        click.echo(address)
        if not running:
            click.echo(_("The node does not run; start it first."), err=True)


@click.command("set", cls=Verb)
@folder_argument
@click.argument("record", metavar="CATEGORY/KEY")
@click.argument("assignments", metavar="FIELD=VALUE...", nargs=-1, required=True)
@store_option
@output_options
def set_(
    folder: Path, record: str, assignments: tuple[str, ...], store: str | None, *, as_json: bool
) -> None:
    """Create or edit one record.

    One transaction; works whether or not the node runs. A field set to nothing (note=) is emptied.

    Counters: balance+=3, balance-=1, balance=12 (an inventory count). Sets: tags+=new, tags-=old.

    Example: crdtsync set gestao products/7891 name=Café price=12.90
    """
    category, _, key = record.partition("/")
    if not key:
        raise Misuse(
            say("{record} names no record; write CATEGORY/KEY, such as products/7891", record=repr(record))
        )
    asked = {"category": category, "key": key, "assignments": list(assignments), "store": store}
    written = asyncio.run(ask(folder, "set", **asked))
    if as_json:
        print_json(written)
    else:
        print_rows([written])


@click.command(cls=Verb)
@folder_argument
@click.argument("category")
@click.option(
    "--give-up",
    is_flag=True,
    help="Wait for nobody: what this node wrote after a batch that nobody brings is written again now.",
)
@output_options
def repair(folder: Path, category: str, *, give_up: bool, as_json: bool) -> None:
    """Make what is stored of a category again from what checks out.

    Damaged rows are written to DIR/damaged first. Documents in quarantine are made again from the rows of their logs that
    check out; what is missing comes again from the nodes that have it, at the next synchronization. Records shown, the
    index of what to send and pendencies are made again from the logs. Works whether or not the node runs. Exit code 1
    when something is missing or could not be repaired.

    Example: crdtsync repair loja1 stock
    """
    answer = asyncio.run(ask(folder, "repair", category=category, give_up=give_up))
    if as_json:
        print_json(answer)
    else:
        _print_repair(answer)
    apart = any(doc.partition("/")[0] == category for doc in answer["quarantined"])
    lacking = any(one["missing"] or one["waiting"] for one in answer["repaired"])
    if apart or lacking:
        sys.exit(FINDING)


def _print_repair(answer: dict[str, Any]) -> None:
    said = _(
        "damaged rows: {damaged_rows}; documents repaired: {repaired}; records made again in {rebuilt} others"
    )
    click.echo(said.format(**answer | {"repaired": len(answer["repaired"])}))
    for one in answer["repaired"]:
        click.echo(_("{doc}: {batches} batches are there").format(**one))
        for device, count in one["missing"].items():
            said = _("  {count} batches of {device} are missing; they come again from a node that has them")
            click.echo(said.format(count=count, device=device))
        if one["waiting"]:
            said = _("  {waiting} batches written here after those wait until a node was asked for them")
            click.echo(said.format(**one))
        if one["incarnation"]:
            click.echo(_("  this node writes under a new replica from now on"))
    for doc in answer["quarantined"]:
        click.echo(_("still in quarantine: {doc}").format(doc=doc))
