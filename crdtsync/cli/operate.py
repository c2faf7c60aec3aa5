"""Verbs that change something: make a node, run it, write a record."""

from __future__ import annotations

import asyncio
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import click

from crdtsync import limits
from crdtsync.cli.enrol import print_joined, read_code
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
from crdtsync.errors import ConfigError, IdentityError
from crdtsync.monitor.tokens import HOST, Level, address_of
from crdtsync.node import Node, NodeConfig, load_config
from crdtsync.node.config import write_config
from crdtsync.node.control import call
from crdtsync.node.credentials import Credentials, check_code
from crdtsync.node.descriptors import raise_limit
from crdtsync.node.runner import Service, run_node
from crdtsync.said import said_of, say
from crdtsync.schema import Role


@click.command(cls=Verb)
@folder_argument
@click.option("--role", type=click.Choice([role.value for role in Role]), help="Which program it is.")
@click.option("--device", help="Name, unique in the account; the folder's name by default.")
@click.option("--store", help="The store's name; required for loja and caixa.")
@click.option("--account", default="main", show_default=True, help="The account that all its nodes share.")
@click.option("--upstream", help="Address of the node above, such as ws://127.0.0.1:7400.")
@click.option(
    "--code",
    help="A pairing code of the node above, in place of role, store, account and upstream; -: read it.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 lets other machines in.",
)
@click.option("--port", default=0, show_default=True, help="Port where nodes below connect; 0: none do.")
@click.option("--address", help="Address under which nodes below reach it, such as wss://loja1.example:7400.")
@click.option(
    "--monitor", default=0, show_default=True, help="Port of this machine for the page and the API; 0: none."
)
@click.option("--live", is_flag=True, help="Synchronize at every change (a local network).")
@output_options
def init(
    folder: Path, role: str | None, device: str | None, code: str | None, *, as_json: bool, **options: Any
) -> None:
    """Make a node: write DIR/node.toml.

    A pairing code (crdtsync pair, at the node above) says the role, the store, the account and the node above.

    Example: crdtsync init caixa1 --role caixa --store loja1 --upstream ws://127.0.0.1:7400

    Example: crdtsync init caixa1 --code -
    """
    told = None if code is None else read_code(code)
    if told is not None:
        if role or options["store"] or options["upstream"]:
            raise Misuse(say("--code says the role, the store and the node above; leave those options out"))
        options |= {name: getattr(told, name) for name in ("store", "account", "upstream", "pin")}
        role, device = told.role, device or told.device
    if role is None:
        raise Misuse(say("the role is missing; name it (`--role caixa`) or give a pairing code (`--code`)"))
    try:
        config = NodeConfig(folder, device or folder.resolve().name.lower(), Role(role), **options)
        if told is not None:
            check_code(told, config)
    except (ConfigError, IdentityError) as error:
        raise Misuse(said_of(error)) from error
    write_config(config)
    if not as_json:
        said = _("wrote {path}; start the node with: crdtsync run {folder}")
        click.echo(said.format(path=config.path, folder=folder))
    elif told is None:
        print_json({"config": str(config.path)})
    if told is not None:
        credentials = Credentials(folder)
        credentials.keep(told, config)
        print_joined(config.device, credentials, as_json=as_json, config=str(config.path))


@click.command(cls=Verb)
@folder_argument
@click.option("--verbose", "-v", is_flag=True, help="Log every link that comes and goes.")
@click.option(
    "--log-file",
    type=click.Path(path_type=Path),
    help="Write the log there and not to the terminal; a full file is kept, the last five of them.",
)
@output_options
def run(folder: Path, log_file: Path | None, *, verbose: bool, as_json: bool) -> None:
    """Run the node in DIR; Ctrl-C or SIGTERM stops it.

    Example: crdtsync run caixa1
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[rotated(log_file)] if log_file else None,
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    config = load_config(folder)
    raise_limit()

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


def rotated(path: Path) -> logging.Handler:
    """Return a handler that writes to a file, begins a new one when it is full, and keeps the last of them."""
    return RotatingFileHandler(
        path, maxBytes=limits.LOG_BYTES_MAX, backupCount=limits.LOG_FILES_KEPT, encoding="utf-8"
    )


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
