"""How a category is cut into documents, and which node holds which.

A partition turns a new record's values and its writer's identity into the parts of a document id, and tells whether a
node is to hold a document with such parts. Time is an argument.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from crdtsync.errors import FieldError
from crdtsync.said import say
from crdtsync.schema.roles import Identity, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCOUNT = "account"
"""The place of what belongs to no store."""

_DUE_WINDOW = timedelta(days=30)
_PART = re.compile(r"[a-z0-9_.-]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Partition:
    """The parts of a document id: any of store, lane and month, in this order; or a place.

    `month_field` names the date or time field whose month counts. With `due_window` a Caixa holds the months that
    have begun within 30 days from today. `place_field` names the text field that says the store, or "account".
    """

    columns: tuple[str, ...] = ()
    month_field: str | None = None
    due_window: bool = False
    place_field: str | None = None

    def parts(
        self, category: str, values: Mapping[str, object], identity: Identity, store: str | None = None
    ) -> tuple[str, ...]:
        """Return the parts for a new record with these wire values.

        `store` says whose record it is where the node has no store of its own (the head office).

        Raises:
            FieldError: the store or the month cannot be told, or a store writes another store's record.
        """
        if store is not None and identity.store is not None and store != identity.store:
            raise FieldError(
                category,
                "store",
                say(
                    "this node belongs to {own} and cannot write for {store}", own=identity.store, store=store
                ),
            )
        found: list[str] = []
        for column in self.columns:
            if column == "month":
                when = values.get(self.month_field or "")
                if not isinstance(when, str):
                    raise FieldError(
                        category, self.month_field or "", say("is required: it says the record's month")
                    )
                found.append(when[:7])
            elif column == "lane":
                found.append(identity.device)
            elif column == "scope":
                found.append(self._place(category, values, identity))
            else:
                owner = identity.store or store
                if owner is None:
                    raise FieldError(
                        category,
                        "store",
                        say(
                            "is not known here: name it (`--store`; in a program `in_store=`), or write "
                            "at a store's node"
                        ),
                    )
                found.append(owner)
        for part in found:
            if not _PART.fullmatch(part):
                raise FieldError(
                    category,
                    "store",
                    say("{part} cannot be part of a document id; use a-z, 0-9, _ . -", part=repr(part)),
                )
        return tuple(found)

    def _place(self, category: str, values: Mapping[str, object], identity: Identity) -> str:
        place = values.get(self.place_field or "")
        if not isinstance(place, str):
            raise FieldError(
                category,
                self.place_field or "",
                say("is required: a store's name, or {account}", account=repr(ACCOUNT)),
            )
        if identity.store is not None and place not in {ACCOUNT, identity.store}:
            raise FieldError(
                category,
                self.place_field or "",
                say("this node belongs to {own}, not to {place}", own=identity.store, place=place),
            )
        return place

    def owner(self, parts: tuple[str, ...]) -> tuple[str | None, str | None]:
        """Return the store and the lane that a document with these parts belongs to; None where it is of no single one."""
        found = dict(zip(self.columns, parts, strict=False))
        scope = found.get("scope")
        return found.get("store", None if scope == ACCOUNT else scope), found.get("lane")

    def holds(self, parts: tuple[str, ...], identity: Identity, today: date | None) -> bool:
        """Tell whether a node is to hold the document with these parts on a day; with None, whether it ever may."""
        if len(parts) != len(self.columns):
            return False
        for column, part in zip(self.columns, parts, strict=True):
            if column == "store" and identity.role is not Role.GESTAO and part != identity.store:
                return False
            if (
                column == "scope"
                and identity.role is not Role.GESTAO
                and part not in {ACCOUNT, identity.store}
            ):
                return False
            if column == "lane" and identity.role is Role.CAIXA and part != identity.device:
                return False
            windowed = column == "month" and self.due_window and identity.role is Role.CAIXA
            if windowed and today is not None:
                limit = today + _DUE_WINDOW
                if part > limit.isoformat()[:7]:
                    return False
        return True


by_account = Partition()
by_store = Partition(("store",))


def by_place(field: str) -> Partition:
    """One document per store and one for the account, as `field` says; a store holds its own and the account's."""
    return Partition(("scope",), place_field=field)


def by_store_month(field: str) -> Partition:
    """One document per store and month of `field`."""
    return Partition(("store", "month"), field)


def by_lane_month(field: str) -> Partition:
    """One document per store, writing lane and month of `field`; a Caixa holds its own."""
    return Partition(("store", "lane", "month"), field)


def by_due_month(field: str) -> Partition:
    """One document per store and due month; a Caixa holds what is due up to 30 days from today."""
    return Partition(("store", "month"), field, due_window=True)
