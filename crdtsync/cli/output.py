"""How verbs answer: a table or one JSON object; faults as one message and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from crdtsync.errors import CrdtsyncError
from crdtsync.node import Node, NodeConfig, load_config
from crdtsync.node.control import call

FINDING = 1
FAULT = 3

folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")


class Group(click.Group):
    """A group whose commands turn the project's errors into a message and exit code 3."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CrdtsyncError as error:
            click.echo(f"crdtsync: {error}", err=True)
            sys.exit(FAULT)
        except KeyboardInterrupt:
            sys.exit(130)


async def ask(
    folder: Path, verb: str, function: Callable[[Node, dict[str, Any]], Awaitable[Any]], **args: Any
) -> Any:
    """Ask the running node of a folder, or open its store without a network and ask that."""
    config = load_config(folder)
    answer = await call(folder, verb, **args)
    if answer is not None:
        return answer
    async with Node(offline(config)) as node:
        return await function(node, args)


def offline(config: NodeConfig) -> NodeConfig:
    """Return the configuration without its links."""
    return replace(config, upstream=None, port=0, listen=False)


def print_json(value: Any) -> None:
    """Print one JSON object on one line."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values."""
    table = Table(box=None, show_header=False)
    for name, value in facts.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else value
        table.add_row(name.replace("_", " "), "-" if shown in (None, "", []) else str(shown))
    Console().print(table)


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print records as a table."""
    if not rows:
        click.echo("no records")
        return
    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if value is not None))
    table = Table(*names)
    for row in rows:
        table.add_row(*(("" if row.get(name) is None else str(row[name])) for name in names))
    Console().print(table)
