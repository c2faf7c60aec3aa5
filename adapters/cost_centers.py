"""Centro de custo: what an expense is charged to; Gestão writes it, everybody reads it."""

from __future__ import annotations

from crdtsync import Entity, Key, Register, Role


class CostCenter(Entity, category="cost_centers", title="Centro de custo", writers={Role.GESTAO}, download=2):
    """One cost center."""

    id = Key()
    name = Register(str, max_length=120)
    active = Register(bool, default=True)
