"""How verbs answer: a table or one JSON object; faults as one message and an exit code."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from copy import copy
from dataclasses import replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from crdtsync import limits
from crdtsync.cli import words
from crdtsync.cli.words import _, lang_option
from crdtsync.errors import AdapterError, CrdtsyncError, StoreLocked
from crdtsync.node import NodeConfig, load_config
from crdtsync.node.caller import call, silent
from crdtsync.said import said_of, say

FINDING = 1
USAGE = 2
FAULT = 3
COMMANDS = "crdtsync.commands"
C = TypeVar("C", bound=click.Command)
F = TypeVar("F", bound=Callable[..., Any])
_AS_JSON = "crdtsync.as_json"
_POLL_SECONDS = 0.05
_PIPE_COLUMNS = 500


def _note_json(ctx: click.Context, _option: click.Parameter, value: bool) -> bool:
    # All contexts of a call share `meta`: the group asks for it when a command fails.
    ctx.meta[_AS_JSON] = value
    return value


folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
store_option = click.option(
    "--store", help="The store whose record it is, at a node that has several stores'."
)
_json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,  # so that a wrong option beside it is answered in JSON too
    callback=_note_json,
    help="Print one JSON object as the last line.",
)


def output_options(command: F) -> F:
    """Give a command ``--json`` (its argument ``as_json``) and ``--lang``."""
    marked: F = _json_option(lang_option(command))
    return marked


class Misuse(click.UsageError):
    """Wrong usage that click does not see, told in the language of the person."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # Now: click shows it when the command, and with it the language, is over.
        self._shown = words.said(message)

    def format_message(self) -> str:
        """Return the message as it is shown."""
        return self._shown


class Verb(click.Command):
    """A command whose help is in the language of the person."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help."""
        click.Command.format_help(_translated(self), ctx, formatter)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first sentence of the help."""
        return click.Command.get_short_help_str(_translated(self), limit)


def _translated(command: C) -> C:
    """A copy of a command with the texts of its help in the language of the person."""
    twin = copy(command)
    twin.help = words.help_text(command.help or "")
    twin.params = []
    for param in command.params:
        told = copy(param)
        if isinstance(told, click.Option) and told.help:
            told.help = _(told.help)
        twin.params.append(told)
    return twin


class Group(click.Group):
    """A group whose commands are loaded when they are named, and whose errors become one message and an exit code.

    ``verbs`` are the built-in ones: name -> ``module:attribute``, a module of this package. Those of other packages come
    through the entry-point group ``crdtsync.commands``.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, str], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._verbs = verbs

    def built_in(self) -> dict[str, click.Command]:
        """Load the built-in commands."""
        return {name: self._verb(name) for name in self._verbs}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the built-in commands, then those of other packages."""
        del ctx
        return [*self._verbs, *(name for name in _installed() if name not in self._verbs)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; one of another package may be broken."""
        del ctx
        if cmd_name in self._verbs:
            return self._verb(cmd_name)
        point = _installed().get(cmd_name)
        if point is None:
            return None
        try:
            command = point.load()
        except Exception as error:  # noqa: BLE001 - another package's import may raise anything
            return _broken(point, f"{type(error).__name__}: {error}")
        return (
            command
            if isinstance(command, click.Command)
            else _broken(point, say("it is not a click command"))
        )

    def _verb(self, name: str) -> click.Command:
        module, _, attribute = self._verbs[name].partition(":")
        command: click.Command = getattr(import_module(f"crdtsync.cli.{module}"), attribute)
        return command

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help, in the language of the person."""
        click.Group.format_help(_translated(self), ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see the module's exit codes."""
        try:
            return super().invoke(ctx)
        except CrdtsyncError as error:
            _fail(ctx, said_of(error), USAGE if error.usage else FAULT)
        except click.ClickException as error:
            if ctx.meta.get(_AS_JSON):
                told = error.message if isinstance(error, Misuse) else error.format_message()
                print_json({"error": told, "exit": error.exit_code})
            raise
        except BrokenPipeError:
            # The reader of our output has seen enough; click ends quietly.
            raise
        except OSError as error:
            reason = error.strerror or str(error)
            told = reason if error.filename is None else f"{error.filename}: {reason}"
            _fail(ctx, say("{error}; check the address, the folder and its permissions", error=told), FAULT)


def _fail(ctx: click.Context, message: str, code: int) -> None:
    click.echo(f"crdtsync: {words.said(message)}", err=True)
    if ctx.meta.get(_AS_JSON):
        print_json({"error": message, "exit": code})
    ctx.exit(code)


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=COMMANDS), key=lambda point: point.name)}


def _broken(point: EntryPoint, why: str) -> click.Command:
    """A command that says why it cannot run: help and the other commands go on working."""
    source = point.dist.name if point.dist else "unknown"

    def fail(**_: object) -> None:
        raise AdapterError(
            say(
                "command {name} ({value} of {source}): {why}; mend or uninstall it",
                name=point.name,
                value=point.value,
                source=source,
                why=why,
            )
        )

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(point.name, callback=fail, help=f"Broken: {why}", context_settings=settings)


class Ask(Protocol):
    """Asks one node for one verb."""

    async def __call__(self, verb: str, /, **args: Any) -> Any:
        """Return what the verb answers."""
        ...


@asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[Ask]:
    """Ask the running node of a folder, or open its store without a network, once, and ask that.

    Raises:
        StoreLocked: another program kept the store open and no node answered for it.
        NodeSilent: a node did, and took the connection, but did not answer.
        StoreMissing: there is no store, and what is asked for is about one.
    """
    config = load_config(folder)
    async with AsyncExitStack() as stack:
        opened: list[Ask] = []

        async def ask(verb: str, /, **args: Any) -> Any:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + limits.STORE_WAIT_SECONDS_MAX
            while not opened:
                answer = await call(folder, verb, **args)
                if answer is not None:
                    return answer
                try:
                    opened.append(await stack.enter_async_context(_alone(config, verb)))
                except StoreLocked:
                    # A node that is starting or stopping, or another command: both are over soon.
                    if loop.time() > deadline:
                        if (hung := await silent(folder)) is not None:
                            raise hung from None
                        raise
                    await asyncio.sleep(_POLL_SECONDS)
            return await opened[0](verb, **args)

        yield ask


@asynccontextmanager
async def _alone(config: NodeConfig, verb: str) -> AsyncIterator[Ask]:
    """Open a store that no other program has open, and ask it; ``verb`` is the first that it is asked."""
    # Here: whoever asks a running node waits for no half of a second until what a node is made of is loaded.
    from crdtsync.node import Node  # noqa: PLC0415
    from crdtsync.node.backup import refuse_missing  # noqa: PLC0415
    from crdtsync.node.verbs import BUILT_IN, NEED_STORE  # noqa: PLC0415

    if verb in NEED_STORE:
        refuse_missing(config)
    async with Node(offline(config), stopped=config) as node:

        async def ask(verb: str, /, **args: Any) -> Any:
            return await BUILT_IN[verb](node, args)

        yield ask


async def ask(folder: Path, verb: str, /, **args: Any) -> Any:
    """Ask a node one thing; see `asking`."""
    async with asking(folder) as asked:
        return await asked(verb, **args)


def offline(config: NodeConfig) -> NodeConfig:
    """Return the configuration without its links."""
    return replace(config, upstream=None, port=0, listen=False, address=config.reached_at(config.port))


@contextmanager
def progress(title: str, *, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Show at a terminal how far something is; gives what is told how much is done, and how much there is in all."""
    with Progress(transient=True, disable=hidden or not sys.stdout.isatty()) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def console() -> Console:
    """The terminal as it is; a file or a pipe gets lines wide enough that nothing is cut off."""
    return Console() if sys.stdout.isatty() else Console(width=_PIPE_COLUMNS)


def print_json(value: Any) -> None:
    """Print one JSON object on one line."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values."""
    _print_pairs({name.replace("_", " "): value for name, value in facts.items()})


def _print_pairs(pairs: Mapping[str, Any]) -> None:
    table = Table(box=None, show_header=False)
    for name, value in pairs.items():
        table.add_row(name, Text(_fact(value) or "-"))
    console().print(table)


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, list):
        return "\n".join(map(_fact, value))
    if isinstance(value, bool):
        # The words that `set` takes.
        return "true" if value else "false"
    return "" if value is None else str(value)


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print records as a table, a single one line by line."""
    if not rows:
        click.echo(_("no records"))
        return
    if len(rows) == 1:
        _print_pairs({name.strip("_"): value for name, value in rows[0].items() if value is not None})
        return
    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if value is not None))
    table = Table(*(name.strip("_") for name in names))
    for row in rows:
        table.add_row(*(Text(_fact(row.get(name))) for name in names))
    console().print(table)
