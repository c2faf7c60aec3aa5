"""The words in which the nodes below are listed."""

from __future__ import annotations

from enum import StrEnum


class Standing(StrEnum):
    """How a node below stands, the worst first."""

    SILENT = "silent"
    FAILING = "failing"
    PAUSED = "paused"
    APART = "apart"
    CONNECTED = "connected"
    REVOKED = "revoked"


class Sort(StrEnum):
    """What the nodes below are sorted by."""

    WORST = "worst"
    NAME = "name"
    STORE = "store"
    HEARD = "heard"
    WAITING = "waiting"
    OLDEST = "oldest"
    PENDENCIES = "pendencies"
    VERSION = "version"
    OFFSET = "offset"
