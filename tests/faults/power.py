"""A power cut at any moment: what a node asked of the disk is recorded, and played back up to each point.

    python -m tests.faults.power --prefixes 10000 --seed 1

The writer runs under a recorder (`recorder.c`, Linux and a C compiler), is killed and started again a few times, and
each prefix of the recording becomes a folder as a disk may hold it after the power went at that point: what was
synchronized is there; of what was written since, all, nothing, or any part, torn between sectors. The node is opened on
it. Prints one line: prefixes, acknowledged lost, unopenable, wrong otherwise, seconds.

The model of the disk is that of Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), with what a common
journalling file system adds: a synchronized file has its name.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from crdtsync.errors import CrdtsyncError
from tests.faults.writer import ACKNOWLEDGED, LINE, judge
from tests.process import end, environment, started

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTOR = 512
RUNS = 4
TRANSACTIONS = 300
"""Acknowledged in each run before it is killed."""
_HEAD = struct.Struct("=cQQQ")


class Op(NamedTuple):
    """One call: ``open``, ``write``, ``truncate``, ``sync``, ``rename`` or ``unlink`` by its first letter."""

    kind: str
    name: str
    offset: int
    data: bytes


@dataclass
class File:
    """What is on the disk for certain, and what was asked since."""

    synced: bytearray = field(default_factory=bytearray)
    since: list[Op] = field(default_factory=list)


class Disk:
    """A folder as the recorded calls made it."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.files: dict[str, File] = {}
        # Names that are on the disk for certain.
        self.named: dict[str, File] = {}

    def apply(self, op: Op) -> None:
        """Do one call."""
        if op.name == self._folder:
            if op.kind == "s":
                self.named = dict(self.files)
        elif op.kind == "o":
            self.files.setdefault(op.name, File())
        elif op.kind == "r":
            self.files[op.data.decode()] = self.files.pop(op.name)
        elif op.kind == "u":
            self.files.pop(op.name, None)
        elif op.kind == "s":
            file = self.files[op.name]
            file.synced = played(file, file.since)
            file.since = []
            self.named[op.name] = file
        else:
            self.files[op.name].since.append(op)

    def lose_power(self, dice: Random) -> Iterator[tuple[str, bytearray]]:
        """Give the files as they may be found when the power is back."""
        keep = dice.choice((_nothing, _everything, _some))
        names = self.files if keep is _everything or (keep is _some and dice.random() < 1 / 2) else self.named
        for name, file in names.items():
            yield name, played(file, list(keep(file.since, dice)))


def played(file: File, ops: list[Op]) -> bytearray:
    """Return a file's content after calls, which are a copy of what is synced when there are none."""
    content = bytearray(file.synced)
    for op in ops:
        if op.kind == "t":
            del content[op.offset :]
            content.extend(bytes(op.offset - len(content)))
        else:
            content.extend(bytes(max(0, op.offset - len(content))))
            content[op.offset : op.offset + len(op.data)] = op.data
    return content


def _nothing(_ops: list[Op], _dice: Random) -> Iterator[Op]:
    yield from ()


def _everything(ops: list[Op], _dice: Random) -> Iterator[Op]:
    yield from ops


def _some(ops: list[Op], dice: Random) -> Iterator[Op]:
    """Any part of the calls, some of the writes torn between two sectors."""
    for op in ops:
        if dice.random() < 1 / 2:
            continue
        if op.kind == "w" and len(op.data) > SECTOR and dice.random() < 1 / 4:
            yield op._replace(data=op.data[: SECTOR * dice.randrange(1, len(op.data) // SECTOR + 1)])
        else:
            yield op


def recording(data: bytes) -> Iterator[Op]:
    """Read what the recorder wrote; a torn end is left out."""
    at = 0
    while at + _HEAD.size <= len(data):
        kind, name_size, offset, size = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + name_size + size
        if end > len(data):
            return
        name = data[at + _HEAD.size : at + _HEAD.size + name_size].decode()
        yield Op(kind.decode(), name, offset, data[end - size : end])
        at = end


def record(work: Path, seed: int, transactions: int = TRANSACTIONS) -> list[Op]:
    """Let the writer work under the recorder, killed and started again, and return what it asked of the disk."""
    library, log, folder = work / "recorder.so", work / "log", work / "node"
    folder.mkdir()
    source = Path(__file__).with_name("recorder.c")
    compiler = shutil.which("cc")
    assert compiler is not None, "no C compiler: apt-get install gcc libc6-dev"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True
    )
    recorded = {"LD_PRELOAD": str(library), "RECORD_ROOT": str(folder.resolve()), "RECORD_LOG": str(log)}
    for run in range(RUNS):
        arguments = ["-m", "tests.faults.writer", folder, seed + run]
        process, _ = started(arguments, work / "writer.log", environment(**recorded))
        assert process.stdout is not None
        for _ in range(transactions):
            process.stdout.readline()
        end(process)
    return list(recording(log.read_bytes()))


@dataclass
class Outcome:
    """What came of the power cuts."""

    prefixes: int = 0
    lost: int = 0
    unopenable: int = 0
    wrong: list[str] = field(default_factory=list)


def cut(ops: list[Op], root: Path, work: Path, prefixes: int, seed: int) -> Outcome:
    """Open the node on so many prefixes of a recording, spread evenly over it.

    Args:
        ops: the recording.
        root: the folder that it was made in.
        work: where the folders are made, each in turn.
        prefixes: how many.
        seed: decides what of the unsynchronized is there.
    """
    dice, disk, outcome = Random(seed), Disk(root), Outcome()
    points = sorted(dice.sample(range(len(ops)), min(prefixes, len(ops))))
    acked: list[int] = []
    done = 0
    for point in points:
        for op in ops[done : point + 1]:
            disk.apply(op)
            if op.kind == "w" and op.name.endswith(ACKNOWLEDGED):
                acked += [int(op.data[at : at + LINE]) for at in range(0, len(op.data), LINE)]
        done = point + 1
        _judge_one(disk, root, work, acked, dice, outcome)
    return outcome


def _judge_one(disk: Disk, root: Path, work: Path, acked: list[int], dice: Random, outcome: Outcome) -> None:
    with tempfile.TemporaryDirectory(dir=work) as made:
        folder = Path(made)
        for name, content in disk.lose_power(dice):
            # The index beside the log is shared memory: SQLite makes it anew.
            if not name.endswith(("-shm", ".lock", ACKNOWLEDGED)):
                target = folder / Path(name).relative_to(root)
                target.write_bytes(content)
        outcome.prefixes += 1
        try:
            wrong = asyncio.run(judge(folder, acked))
        except CrdtsyncError as error:
            outcome.unopenable += 1
            outcome.wrong.append(f"prefix {outcome.prefixes}: {error}")
            return
        lost = sum("is lost" in line for line in wrong)
        outcome.lost += lost
        outcome.wrong += [f"prefix {outcome.prefixes}: {line}" for line in wrong]


def main() -> int:
    """Print what came of so many power cuts; 1 when anything was lost or would not open."""
    parser = argparse.ArgumentParser(description="power cuts at any moment")
    parser.add_argument("--prefixes", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        ops = record(work, args.seed)
        outcome = cut(ops, (work / "node").resolve(), work, args.prefixes, args.seed)
    print(
        f"prefixes {outcome.prefixes} of {len(ops)}, acknowledged lost {outcome.lost}, "
        f"unopenable {outcome.unopenable}, wrong {len(outcome.wrong)}, {time.monotonic() - began:.0f} s"
    )
    for line in outcome.wrong[:20]:
        print(f"  {line}")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
