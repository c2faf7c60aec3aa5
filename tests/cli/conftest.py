"""Real processes for the tests of the command line: one call, or a node that runs until the test is over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALL_SECONDS_MAX = 40


@dataclass(frozen=True)
class Answer:
    """How one call ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object in the last line of standard output."""
        found = json.loads(self.out.splitlines()[-1])
        assert isinstance(found, dict)
        return found


def command(*args: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "crdtsync.cli", *map(str, args)]


class Cli(Protocol):
    """Calls `crdtsync` and returns how it ended; `code` is what it must end with, `typed` its standard input."""

    def __call__(self, *args: object, code: int = 0, typed: str | None = None) -> Answer: ...


class Start(Protocol):
    """Starts `crdtsync run` and returns the process and what it said when it was ready."""

    def __call__(self, folder: Path) -> tuple[subprocess.Popen[str], dict[str, Any]]: ...


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    def call(*args: object, code: int = 0, typed: str | None = None) -> Answer:
        done = subprocess.run(
            command(*args),
            input=typed,
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS_MAX,
            cwd=tmp_path,
            env=environment(),
            check=False,
        )
        assert done.returncode == code, f"{args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return Answer(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def run(folder: Path) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        # A test reads its log in the folder; a pipe that nobody reads would block the node.
        with (folder / "log.txt").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                command("run", folder, "--json"),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=tmp_path,
                env=environment(),
            )
        running.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, (folder / "log.txt").read_text(encoding="utf-8")
        return process, json.loads(said)

    yield run
    for process in running:
        process.kill()
        process.communicate(timeout=CALL_SECONDS_MAX)


def environment() -> dict[str, str]:
    """The test's own import path, so that the processes run the code under test from any folder."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "COLUMNS": "200",
        "LC_ALL": "C.UTF-8",
    }


@pytest.fixture
def gestao(tmp_path: Path, cli: Cli) -> Path:
    cli("init", tmp_path / "gestao", "--role", "gestao")
    return tmp_path / "gestao"


@pytest.fixture
def loja(tmp_path: Path, cli: Cli) -> Path:
    cli("init", tmp_path / "loja1", "--role", "loja", "--store", "loja1")
    return tmp_path / "loja1"
