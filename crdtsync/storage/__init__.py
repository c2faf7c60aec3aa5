"""What survives: the storage interface and its two implementations over SQLite.

Nothing here knows what a category means, decodes a document or reads a clock.
"""

from crdtsync.storage.base import (
    ChangeRow,
    Commit,
    DamagedRow,
    DeviceRow,
    DueRow,
    Filing,
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
from crdtsync.storage.memory import MemoryStorage
from crdtsync.storage.sqlite import SqliteStorage
from crdtsync.storage.tables import TableSpec, table_specs

__all__ = [
    "ChangeRow",
    "Commit",
    "DamagedRow",
    "DeviceRow",
    "DueRow",
    "Filing",
    "HeadRow",
    "MemoryStorage",
    "ParkedRow",
    "PendencyChanges",
    "PendencyRow",
    "ReplicaRow",
    "Row",
    "RunCategoryRow",
    "RunRow",
    "SqliteStorage",
    "Storage",
    "TableSpec",
    "View",
    "Wire",
    "table_specs",
]
