"""The layers of the system, read from the source: who may import whom, and where each third-party package lives.

Imports inside functions and under `TYPE_CHECKING` count too: a type is knowledge of another layer.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent

BELOW_NODE = frozenset(
    {
        "said",
        "errors",
        "limits",
        "ownership",
        "identity",
        "schema",
        "state",
        "storage",
        "protocol",
        "transport",
        "pendencies",
    }
)
# What says a text in the language of its reader: no layer below knows one.
EDGE = frozenset({"locale"})
NODE_AND_BELOW = BELOW_NODE | {"node"}
# Layer -> the layers of crdtsync that it may import besides itself. A module at the top of crdtsync is a layer.
LAYERS: dict[str, frozenset[str]] = {
    "said": frozenset(),
    "errors": frozenset({"said"}),
    "limits": frozenset(),
    "ownership": frozenset(),
    "identity": frozenset({"said", "errors", "limits", "ownership"}),
    "schema": frozenset({"said", "errors", "limits"}),
    "state": frozenset({"errors", "limits", "schema"}),
    "storage": frozenset({"said", "errors", "limits", "ownership", "schema", "state"}),
    "protocol": frozenset({"said", "errors", "limits", "schema"}),
    "transport": frozenset({"said", "errors", "limits", "protocol"}),
    "pendencies": frozenset({"errors", "limits", "schema", "state", "storage"}),
    "node": BELOW_NODE,
    "locale": frozenset({"said"}),
    "monitor": NODE_AND_BELOW | EDGE,
    "testing": NODE_AND_BELOW,
    "cli": NODE_AND_BELOW | EDGE | {"monitor", "testing"},
}
# Of the schema, the protocol knows who speaks, not what is said.
PROTOCOL_SCHEMA = "crdtsync.schema.roles"

# Third-party package -> where it may be imported: a file, or a folder with all below it.
HOMES: dict[str, tuple[str, ...]] = {
    "pycrdt": ("crdtsync/state/",),
    "aiosqlite": ("crdtsync/storage/sqlite.py",),
    "websockets": ("crdtsync/transport/websocket.py",),
    "msgpack": ("crdtsync/state/codec.py", "crdtsync/protocol/frames.py", "crdtsync/storage/"),
    "filelock": ("crdtsync/storage/",),
    "cryptography": ("crdtsync/identity/",),
    "rich": ("crdtsync/cli/", "adapters/demo/"),
    "click": ("crdtsync/cli/", "adapters/demo/"),
    "fastapi": ("crdtsync/monitor/",),
    "starlette": ("crdtsync/monitor/",),
    "uvicorn": ("crdtsync/monitor/",),
    "pydantic": ("crdtsync/monitor/",),
    "babel": ("crdtsync/cli/words.py",),
    "validate_docbr": ("adapters/",),
    "stdnum": ("adapters/",),
    # The test kit brings the author's own test runner.
    "pytest": ("crdtsync/testing/",),
    "hypothesis": ("crdtsync/testing/",),
}

# Layer -> standard modules that would let the world in.
CLOCKS_AND_CHANCE = frozenset(
    {"asyncio", "random", "secrets", "select", "selectors", "socket", "ssl", "time"}
)
FILES_AND_PROCESSES = frozenset(
    {"io", "os", "pathlib", "shutil", "sqlite3", "subprocess", "tempfile", "threading"}
)
FORBIDDEN: dict[str, frozenset[str]] = {
    "said": CLOCKS_AND_CHANCE | FILES_AND_PROCESSES,
    "schema": CLOCKS_AND_CHANCE | FILES_AND_PROCESSES,
    "protocol": CLOCKS_AND_CHANCE | FILES_AND_PROCESSES,
}
SQLITE_HOMES = ("crdtsync/storage/", "adapters/demo/recount.py")


def imported(source: str, package: str) -> Iterator[str]:
    """Dotted names that a module imports; relative ones are resolved against `package`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                above = ".".join(parents[: len(parents) - node.level + 1])
                base = f"{above}.{base}" if base else above
            # `from crdtsync import schema` may name a module, so the name belongs to the path.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def layer_of(dotted: str) -> str | None:
    """The layer of a dotted name below crdtsync; None for the package itself and for its public names."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "crdtsync" and len(parts) > 1 and parts[1] in LAYERS else None


def faults(path: str, source: str) -> list[str]:
    """What a file imports that its place does not allow, one sentence each."""
    parts = path.removesuffix(".py").split("/")
    own = parts[1] if parts[0] == "crdtsync" and parts[1] != "__init__" else None
    if own is not None and own not in LAYERS:
        return [f"{path} is in no layer: add {own} to the table"]
    found = []
    for dotted in imported(source, ".".join(parts[:-1])):
        top = dotted.split(".")[0]
        if parts[0] == "crdtsync" and top == "adapters":
            found.append(f"{path} imports {dotted}: crdtsync never imports adapters")
        elif own is not None and top == "crdtsync":
            found += [f"{path} imports {dotted}: {why}" for why in layer_faults(own, dotted)]
        elif own is not None and top in FORBIDDEN.get(own, ()):
            found.append(f"{path} imports {dotted}: {own} has no I/O, no clock and no chance")
        elif top == "sqlite3" and not path.startswith(SQLITE_HOMES):
            found.append(f"{path} imports {dotted}: SQL lives in {SQLITE_HOMES[0]}")
        elif top not in sys.stdlib_module_names and top not in ("crdtsync", "adapters"):
            homes = HOMES.get(top)
            if homes is None:
                found.append(f"{path} imports {dotted}: {top} has no home in the table")
            elif not path.startswith(homes):
                found.append(f"{path} imports {dotted}: {top} lives in {', '.join(homes)}")
    return found


def layer_faults(own: str, dotted: str) -> Iterator[str]:
    """Why a module of the layer `own` may not import this name of crdtsync."""
    other = layer_of(dotted)
    if other is None:
        yield "inside crdtsync, import from the layer itself"
    elif other != own and other not in LAYERS[own]:
        yield f"{own} may not know {other}"
    elif own == "protocol" and other == "schema" and not f"{dotted}.".startswith(f"{PROTOCOL_SCHEMA}."):
        yield "of the schema, protocol knows only roles"


def sources() -> list[str]:
    """Every Python file of the two packages, as a path from the root."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for top in ("crdtsync", "adapters")
        for path in (ROOT / top).rglob("*.py")
    )


@pytest.mark.parametrize("path", sources())
def test_a_file_imports_only_what_its_layer_may(path: str) -> None:
    assert faults(path, (ROOT / path).read_text(encoding="utf-8")) == []


def test_layers_have_no_cycle() -> None:
    below: set[str] = set()
    for layer, may in LAYERS.items():
        assert may <= below, f"{layer} knows a layer that is not below it: {sorted(may - below)}"
        below.add(layer)


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("crdtsync/node/node.py", "import adapters.sales", "never imports adapters"),
        ("crdtsync/node/node.py", "def f():\n    from adapters import sales", "never imports adapters"),
        ("crdtsync/said.py", "from crdtsync.errors import hint", "said may not know errors"),
        ("crdtsync/said.py", "import gettext, os", "no I/O"),
        ("crdtsync/schema/fields.py", "from crdtsync.state import fold", "schema may not know state"),
        ("crdtsync/schema/fields.py", "from ..state import fold", "schema may not know state"),
        ("crdtsync/schema/fields.py", "from .. import state", "schema may not know state"),
        ("crdtsync/state/fold.py", "from crdtsync import Entity", "import from the layer itself"),
        ("crdtsync/schema/schema.py", "from pathlib import Path", "no I/O"),
        ("crdtsync/protocol/session.py", "import time", "no clock"),
        ("crdtsync/protocol/session.py", "from asyncio import Queue", "no I/O"),
        ("crdtsync/protocol/session.py", "from crdtsync.schema.shape import Shape", "only roles"),
        ("crdtsync/storage/base.py", "import aiosqlite", "aiosqlite lives in crdtsync/storage/sqlite.py"),
        ("crdtsync/node/node.py", "import pycrdt", "pycrdt lives in crdtsync/state/"),
        ("crdtsync/node/node.py", "import sqlite3", "SQL lives in crdtsync/storage/"),
        ("crdtsync/node/node.py", "import requests", "requests has no home"),
        ("crdtsync/node/runner.py", "from crdtsync.monitor import serve", "node may not know monitor"),
        ("crdtsync/node/node.py", "from crdtsync.locale import told", "node may not know locale"),
        ("crdtsync/node/node.py", "import fastapi", "fastapi lives in crdtsync/monitor/"),
        ("crdtsync/cli/operate.py", "from uvicorn import Server", "uvicorn lives in crdtsync/monitor/"),
        ("crdtsync/node/node.py", "import cryptography", "cryptography lives in crdtsync/identity/"),
        ("crdtsync/identity/keys.py", "from crdtsync.node import Node", "identity may not know node"),
        ("crdtsync/extra.py", "", "is in no layer"),
        ("adapters/sales.py", "import click", "click lives in"),
    ],
)
def test_the_guard_finds_a_planted_fault(path: str, source: str, fault: str) -> None:
    found = faults(path, source)
    assert len(found) == 1
    assert fault in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("crdtsync/protocol/session.py", "from crdtsync.schema.roles import Role"),
        ("crdtsync/storage/sqlite.py", "import aiosqlite, sqlite3, msgpack"),
        ("crdtsync/__init__.py", "from crdtsync.schema import Entity\nfrom crdtsync.node import Node"),
        ("adapters/sales.py", "from crdtsync import Entity\nfrom adapters.products import Product"),
    ],
)
def test_the_guard_lets_an_allowed_import_pass(path: str, source: str) -> None:
    assert faults(path, source) == []
