"""Verbs that change something: make a node, run it, write a record."""

from __future__ import annotations

import asyncio
import logging
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
from crdtsync.monitor.tokens import HOST, Level, address_of
from crdtsync.node import Node, NodeConfig, load_config
from crdtsync.node.config import write_config
from crdtsync.node.control import call
from crdtsync.node.runner import Service, run_node
from crdtsync.said import said_of, say
from crdtsync.schema import Role

if TYPE_CHECKING:
    from pathlib import Path


@click.command(cls=Verb)
@folder_argument
@click.option(
    "--role", required=True, type=click.Choice([role.value for role in Role]), help="Which program it is."
)
@click.option("--device", help="Name, unique in the account; the folder's name by default.")
@click.option("--store", help="The store's name; required for loja and caixa.")
@click.option("--account", default="main", show_default=True, help="The account that all its nodes share.")
@click.option("--upstream", help="Address of the node above, such as ws://127.0.0.1:7400.")
@click.option("--port", default=0, show_default=True, help="Port where nodes below connect; 0: none do.")
@click.option(
    "--monitor", default=0, show_default=True, help="Port of this machine for the page and the API; 0: none."
)
@click.option("--live", is_flag=True, help="Synchronize at every change (a local network).")
@output_options
def init(folder: Path, role: str, device: str | None, *, as_json: bool, **options: Any) -> None:
    """Make a node: write DIR/node.toml.

    Example: crdtsync init caixa1 --role caixa --store loja1 --upstream ws://127.0.0.1:7400
    """
    try:
        config = NodeConfig(folder, device or folder.resolve().name.lower(), Role(role), **options)
    except ConfigError as error:
        raise Misuse(said_of(error)) from error
    write_config(config)
    if as_json:
        print_json({"config": str(config.path)})
    else:
        said = _("wrote {path}; start the node with: crdtsync run {folder}")
        click.echo(said.format(path=config.path, folder=folder))


@click.command(cls=Verb)
@folder_argument
@click.option("--verbose", "-v", is_flag=True, help="Log every link that comes and goes.")
@output_options
def run(folder: Path, *, verbose: bool, as_json: bool) -> None:
    """Run the node in DIR; Ctrl-C or SIGTERM stops it.

    Example: crdtsync run caixa1
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    config = load_config(folder)

    def ready(node: Node) -> None:
        port = node.server.port if node.server else None
        facts = {
            "device": config.device,
            "role": config.role.value,
            "port": port,
            "upstream": config.upstream,
            "monitor": f"http://{HOST}:{config.monitor}/" if config.monitor else None,
        }
        if as_json:
            print_json(facts)
        else:
            said = _("{device} ({role}) is running; Ctrl-C stops it")
            if port:
                said = _("{device} ({role}) is running, nodes below connect to port {port}; Ctrl-C stops it")
            click.echo(said.format(device=config.device, role=config.role, port=port))
            if config.monitor:
                said = _("the page is at {address}; open it with: crdtsync monitor {folder}")
                click.echo(said.format(address=facts["monitor"], folder=folder))

    services: list[Service] = []
    if config.monitor:
        # It takes longer to import than all the rest, and the other commands, and most nodes, do without.
        from crdtsync.monitor.serve import service  # noqa: PLC0415

        services.append(service)
    asyncio.run(run_node(config, on_ready=ready, services=services))


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
