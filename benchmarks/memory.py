"""Memory of a loaded catalogue document, each reading in a fresh process.

Run as `python -m benchmarks.memory FOLDER` it is that process: it opens the store, loads the document and prints what
it holds, as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

from benchmarks.catalogue import DOC, Sent, fill, ledger
from benchmarks.measure import KIB, Figure, Sizes, status_bytes

TARGET_MB = 60.0
_MB = 1_000_000
_BARE = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"


async def _load(folder: Path, *, trace: bool) -> dict[str, float]:
    found: dict[str, float] = {"imported": status_bytes("VmRSS")}
    target = ledger(folder)
    await target.open()
    gc.collect()
    found["opened"] = status_bytes("VmRSS")
    if trace:
        tracemalloc.start()
    document = await target.document(DOC)
    gc.collect()
    found["records"] = len(document.fold)
    found["traced"] = tracemalloc.get_traced_memory()[0]
    found["loaded"] = status_bytes("VmRSS")
    found["peak"] = status_bytes("VmHWM")
    await target.pieces(DOC, target.vectors([DOC])[DOC])
    gc.collect()
    found["with log"] = status_bytes("VmRSS")
    await target.close()
    return found


def _child(folder: Path, *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.memory", str(folder), *arguments]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def measure(sizes: Sizes, catalogue: Sent) -> list[Figure]:
    """Return what the loaded document adds to the program, and what both add to a bare interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill(Path(folder), catalogue.updates))
        plain, traced = _child(Path(folder)), _child(Path(folder), "--trace")
    bare = subprocess.run([sys.executable, "-c", _BARE], check=True, capture_output=True, text=True)
    interpreter = int(bare.stdout) * KIB
    if plain["records"] != sizes.products:
        raise AssertionError(f"{plain['records']} of {sizes.products} records are loaded")
    details = {
        "bare interpreter MB": interpreter / _MB,
        "program imported MB": plain["imported"] / _MB,
        "store open MB": plain["opened"] / _MB,
        "document loaded MB": plain["loaded"] / _MB,
        "peak while loading MB": plain["peak"] / _MB,
        "log loaded too (to serve a peer) MB": plain["with log"] / _MB,
        "Python objects of the document (tracemalloc) MB": traced["traced"] / _MB,
        "VmRSS bytes a record": (plain["loaded"] - plain["opened"]) / sizes.products,
    }
    name = f"memory of a loaded document of {sizes.products:,} products"
    against = "VmRSS of the same process before the load, program imported and store open"
    above = (plain["loaded"] - interpreter) / _MB
    return [
        Figure(name, (plain["loaded"] - plain["opened"]) / _MB, TARGET_MB, "MB", against, details),
        Figure(
            f"{name}, program included",
            above,
            TARGET_MB,
            "MB",
            "VmRSS of an interpreter that imports nothing",
        ),
    ]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_load(Path(sys.argv[1]), trace="--trace" in sys.argv))))
