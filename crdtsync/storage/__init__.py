"""What survives: the storage interface and its two implementations over SQLite.

Nothing here knows what a category means, decodes a document or reads a clock.
"""

from crdtsync.storage.base import (
    ChangeRow,
    Commit,
    HeadRow,
    ParkedRow,
    PendencyChanges,
    PendencyRow,
    ReplicaRow,
    Row,
    RunCategoryRow,
    RunRow,
    Storage,
    View,
    Wire,
)

__all__ = [
    "ChangeRow",
    "Commit",
    "HeadRow",
    "ParkedRow",
    "PendencyChanges",
    "PendencyRow",
    "ReplicaRow",
    "Row",
    "RunCategoryRow",
    "RunRow",
    "Storage",
    "View",
    "Wire",
]
