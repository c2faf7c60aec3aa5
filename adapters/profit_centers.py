"""Centro de lucro: what a revenue is credited to; Gestão writes it, everybody reads it."""

from __future__ import annotations

from datetime import date

from adapters import centers
from crdtsync import Entity, Key, Ref, Register, Role


class ProfitCenter(
    Entity, category="profit_centers", title="Centro de lucro", writers={Role.GESTAO}, download=3
):
    """One profit center.

    What is credited to a center are facts, so they stay with it: `transferred_to` names the center that they count for
    since, `closed_on` the first day on which nothing more may be credited to it.
    """

    id = Key()
    name = Register(str, max_length=120)
    active = Register(bool, default=True)
    transferred_to = Ref("self", optional=True)
    closed_on = Register(date, optional=True)

    edited_once = centers.EDITED_ONCE
    is_open = centers.is_open
    deleted_while_in_use = centers.in_use("lucro")
    bring_back = centers.bring_back
    transfer = centers.transfer
    close = centers.close
