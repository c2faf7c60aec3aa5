"""`python docs/draw_cli.py`: write docs/cli.md, every verb of the command line with its help, from the commands themselves."""

# ruff: noqa: INP001 - a script beside the page that it writes, not a package.

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crdtsync.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parent / "cli.md"
_SHARED = {"--json", "--lang", "--help"}
_HEAD = """# The command line

Written by `python docs/draw_cli.py` from the commands themselves; `crdtsync VERB --help` says the same.

Every verb works on a running node, through its control socket, and on a stopped one, by opening its store; `sync` needs a running
node and `verify` a stopped one. Before the first start there is no store: verbs that look at one say so, with exit code 3, and make none.
Every verb takes `--json` (one JSON object as the last line, with stable English words) and
`--lang pt|en` (default: LC_ALL, LC_MESSAGES, LANG). Errors are told in that language too, also those that a running node answers
with; in JSON they are English. Lists come in pages: what an answer says as `after` is given back as `--after`.

| exit code | means |
|---|---|
| 0 | all is well |
| 1 | a finding: `verify`, `doctor` and `alerts` found something, `diff` differs, `sync` was refused or ended badly, `resolve --rule` could not settle some, `simulate` failed |
| 2 | wrong usage: an unknown name, a value that is not allowed, an option that cannot be chosen |
| 3 | a fault of the environment, the store or a peer: no such folder, a key that `node.toml` lacks, a damaged file, a node that does not answer |
"""


def drawn() -> str:
    """Return the page."""
    parts = [_HEAD]
    for name, command in main.built_in().items():
        parts.append("\n".join(_section(name, command)))
    return "\n".join(parts)


def _section(name: str, command: click.Command) -> Iterator[str]:
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    options = [one for one in command.params if isinstance(one, click.Option) and not _SHARED & set(one.opts)]
    yield f"## {name}\n"
    yield f"`crdtsync {' '.join([name, *map(_argument, arguments)])}`\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    if options:
        yield "| option | |\n|---|---|"
        yield from (f"| {_option(one)} | {_about(one)} |" for one in options)
        yield ""


def _argument(argument: click.Argument) -> str:
    shown = argument.metavar or (argument.name or "").upper()
    return shown if argument.required or shown.startswith("[") else f"[{shown}]"


def _option(option: click.Option) -> str:
    names = ", ".join(sorted(option.opts, key=len, reverse=True))
    if option.is_flag:
        return f"`{names}`"
    words = option.type.choices if isinstance(option.type, click.Choice) else ()
    value = option.metavar or "/".join(map(str, words)) or option.type.name.upper()
    return f"`{names} {value}`"


def _about(option: click.Option) -> str:
    told = (option.help or "").replace("|", "\\|")
    if option.required:
        told += " Required."
    if option.envvar:
        told += f" By default the environment variable `{option.envvar}`."
    if isinstance(option.show_default, str):
        told += f" Default: {option.show_default}."
    elif option.show_default:
        told += f" Default: {option.default}."
    return told


if __name__ == "__main__":
    PAGE.write_text(drawn(), encoding="utf-8")
