"""Real processes for the tests of the command line: one call, or a node that runs until the test is over."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pytest

import tests.process
from tests.process import end, started

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


def called(
    folder: Path, *args: object, typed: str | None = None, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Call `crdtsync` in a folder and return how it ended, whatever that is."""
    return subprocess.run(
        command(*args),
        input=typed,
        capture_output=True,
        text=True,
        timeout=CALL_SECONDS_MAX,
        cwd=folder,
        env=environ or environment(),
        check=False,
    )


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    def call(*args: object, code: int = 0, typed: str | None = None) -> Answer:
        done = called(tmp_path, *args, typed=typed)
        assert done.returncode == code, f"{args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return Answer(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def run(folder: Path) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        # A test reads its log in the folder.
        arguments = ["-W", "error", "-m", "crdtsync.cli", "run", folder, "--json"]
        process, said = started(arguments, folder / "log.txt", environment())
        running.append(process)
        return process, json.loads(said)

    yield run
    for process in running:
        end(process)


def environment() -> dict[str, str]:
    """What a person's terminal would say, wide and in no language."""
    return tests.process.environment(COLUMNS="200", LC_ALL="C.UTF-8")


@pytest.fixture
def gestao(tmp_path: Path, cli: Cli) -> Path:
    cli("init", tmp_path / "gestao", "--role", "gestao")
    return tmp_path / "gestao"


@pytest.fixture
def loja(tmp_path: Path, cli: Cli) -> Path:
    cli("init", tmp_path / "loja1", "--role", "loja", "--store", "loja1")
    return tmp_path / "loja1"
