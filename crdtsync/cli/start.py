"""Verbs that make a node and run it."""

from __future__ import annotations

import asyncio
import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crdtsync import limits
from crdtsync.cli.enrol import print_joined, read_code
from crdtsync.cli.output import (
    Misuse,
    Verb,
    folder_argument,
    output_options,
    print_json,
)
from crdtsync.cli.words import _
from crdtsync.errors import ConfigError, IdentityError
from crdtsync.monitor.tokens import HOST
from crdtsync.node import Node, NodeConfig, load_config
from crdtsync.node.config import check_links, write_config
from crdtsync.node.credentials import Credentials, check_code
from crdtsync.node.descriptors import raise_limit
from crdtsync.node.runner import Service, run_node
from crdtsync.ownership import hand_over
from crdtsync.said import said_of, say
from crdtsync.schema import Role

if TYPE_CHECKING:
    from io import TextIOWrapper


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
        check_links(config)
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
        handlers=[rotated(log_file, folder)] if log_file else None,
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


class _LogFile(RotatingFileHandler):
    """A log in a node's folder, each file of which the owner of the folder can go on with."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._folder = folder
        super().__init__(
            path, maxBytes=limits.LOG_BYTES_MAX, backupCount=limits.LOG_FILES_KEPT, encoding="utf-8"
        )

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        hand_over(Path(self.baseFilename), self._folder)
        return stream


def rotated(path: Path, folder: Path) -> logging.Handler:
    """Return a handler that writes to a file, begins a new one when it is full, and keeps the last of them.

    ``folder`` is that of the node whose log it is.
    """
    return _LogFile(path, folder)
