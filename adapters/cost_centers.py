"""Centro de custo: what an expense is charged to; Gestão writes it, everybody reads it."""

from __future__ import annotations

from datetime import date

from adapters import centers
from crdtsync import Entity, Key, Ref, Register, Role


class CostCenter(Entity, category="cost_centers", title="Centro de custo", writers={Role.GESTAO}, download=2):
    """One cost center.

    What is charged to a center are facts, so they stay with it: `transferred_to` names the center that they count for
    since, `closed_on` the first day on which nothing more may be charged to it.
    """

    id = Key()
    name = Register(str, max_length=120)
    active = Register(bool, default=True)
    transferred_to = Ref("self", optional=True)
    closed_on = Register(date, optional=True)

    edited_once = centers.EDITED_ONCE
    is_open = centers.is_open
    deleted_while_in_use = centers.in_use("custo")
    bring_back = centers.bring_back
    transfer = centers.transfer
    close = centers.close
