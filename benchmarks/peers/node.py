"""The systems with Node: their packages, the workload as they read it, and how they are started.

`python -m benchmarks.peers install` installs the packages into a folder beside `package.json` that is not part of the project.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from array import array
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import workload
from benchmarks.catalogue import products
from benchmarks.cells import System
from benchmarks.peers import network, run
from benchmarks.peers.child import Told, lane_sales
from benchmarks.peers.stage import Peer
from benchmarks.workload import LANES, PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).parent / "node"
# Hocuspocus and y-websocket carry documents of Yjs, which has their cells in process.
# Name of the script, then the name as its makers write it, the main package, and the cells.
SCRIPTS = {
    "yjs": ("Yjs", "yjs", ("merge", "growth")),
    "hocuspocus": ("Hocuspocus", "@hocuspocus/server", network.CELLS),
    "y-websocket": ("y-websocket", "y-websocket", network.CELLS),
    "automerge-repo": (
        "automerge-repo",
        "@automerge/automerge-repo",
        ("merge", *network.CELLS, "growth"),
    ),
    "tinybase": ("TinyBase", "tinybase", ("merge", *network.CELLS, "growth")),
    "pouchdb": ("PouchDB", "pouchdb", ("merge", *network.CELLS, "growth")),
}
_INSTALL = ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--legacy-peer-deps")


def missing() -> str | None:
    """Return why no system with Node can run here, or None."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    wanted: dict[str, str] = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))["dependencies"]
    if any(_version(package) != named for package, named in wanted.items()):
        return "its packages are not installed: python -m benchmarks.peers install"
    return None


def _version(package: str) -> str:
    """Return the version of an installed package, or nothing."""
    file = FOLDER / "node_modules" / package / "package.json"
    return str(json.loads(file.read_text(encoding="utf-8"))["version"]) if file.exists() else ""


def install() -> None:
    """Install the packages; a few minutes the first time, since some are compiled. Say so where there is no npm."""
    if shutil.which("npm") is None:
        print("npm is not installed: the systems with Node are left out", file=sys.stderr)
        return
    subprocess.run(_INSTALL, cwd=FOLDER, check=True, stdout=sys.stderr)


def _write_lines(file: Path, lines: Iterable[object]) -> None:
    with file.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)


def write_workload(cell: str, size: int, folder: Path) -> None:
    """Write what the processes of a cell read."""
    head = {"products": size if cell == "catalogue" else PRODUCTS, "opening": workload.OPENING_BALANCE}
    (folder / "workload.json").write_text(json.dumps(head), encoding="utf-8")
    if cell == "catalogue":
        _write_lines(
            folder / "products.ndjson",
            ({"key": key, "number": number, **values} for number, (key, values) in enumerate(products(size))),
        )
    elif cell == "growth":
        pairs = array("i")
        for sale in workload.sales(1, size, PRODUCTS):
            pairs.extend((sale.product, sale.quantity))
        (folder / "updates.bin").write_bytes(pairs.tobytes())
    else:
        for lane in range(1, LANES + 1):
            _write_lines(folder / f"lane{lane}.ndjson", map(asdict, lane_sales(lane, size)))


def peer(script: str) -> Peer:
    """Return a system as the cells see it."""
    name, package, _ = SCRIPTS[script]

    def command(of: Told) -> list[str]:
        file = str(FOLDER / f"{script}.mjs")
        return ["node", "--expose-gc", "--max-old-space-size=8192", file, *of.arguments()]

    return Peer(name, partial(_version, package), command, write_workload)


SYSTEMS = tuple(
    System(name, cells, partial(run.command, script), missing) for script, (name, _, cells) in SCRIPTS.items()
)


def main(script: str, arguments: list[str]) -> None:
    """Run one cell of one system."""
    run.run_cell(peer(script), arguments)
