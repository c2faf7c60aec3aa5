"""Centro de lucro: what a revenue is credited to; Gestão writes it, everybody reads it."""

from __future__ import annotations

from crdtsync import Entity, Key, Register, Role


class ProfitCenter(
    Entity, category="profit_centers", title="Centro de lucro", writers={Role.GESTAO}, download=3
):
    """One profit center."""

    id = Key()
    name = Register(str, max_length=120)
    active = Register(bool, default=True)
