"""What the suite knows of a system that it compares: its name, what it can do, and how it is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class System:
    """One system.

    Attributes:
        name: as its makers write it.
        cells: the cells that it has, of `merge`, `offline_day`, `catalogue`, `live` and `growth`.
        command: the command line that runs one cell at one size in one empty folder, and prints its result last.
        missing: a sentence why it cannot run here, or None.
    """

    name: str
    cells: tuple[str, ...]
    command: Callable[[str, int, Path], list[str]]
    missing: Callable[[], str | None]
