"""The two tokens of a node's page: files in its folder that only its user can read, made at the first start."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from crdtsync.errors import ConfigError
from crdtsync.identity.private import others_can_read, write_private
from crdtsync.said import say

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
"""Where the page is: this machine alone."""

_BYTES = 32
_TOKEN = re.compile(r"[0-9a-f]{64}")


class Level(StrEnum):
    """What the holder of a token may do: everything, or only look."""

    RESOLVER = "resolver"
    READER = "reader"


NAMES = {Level.RESOLVER: "monitor.token", Level.READER: "monitor.reader.token"}


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one node."""

    resolver: str
    reader: str


def tokens_of(folder: Path) -> Tokens:
    """Return the tokens of a node's folder; those that are not there are made.

    Raises:
        ConfigError: a file cannot be read or written, holds no token, or can be read by others.
    """
    return Tokens(*(_token(folder / NAMES[level]) for level in (Level.RESOLVER, Level.READER)))


def address_of(folder: Path, port: int, level: Level = Level.RESOLVER) -> str:
    """Return what a browser of this machine opens. Behind the # nothing is sent, so no log ever has the token.

    Raises:
        ConfigError: see `tokens_of`.
    """
    tokens = tokens_of(folder)
    token = tokens.resolver if level is Level.RESOLVER else tokens.reader
    return f"http://{HOST}:{port}/enter#{token}"


def _token(path: Path) -> str:
    try:
        if not path.exists():
            write_private(path, secrets.token_hex(_BYTES))
        if others_can_read(path):
            raise ConfigError(
                say(
                    "{path}: other users can read this file; remove it, and the node makes a new one",
                    path=path,
                )
            )
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            say("{path}: {error}; run this as the user who runs the node", path=path, error=error)
        ) from error
    if not _TOKEN.fullmatch(text):
        raise ConfigError(
            say("{path}: this is no token; remove the file, and the node makes a new one", path=path)
        )
    return text
