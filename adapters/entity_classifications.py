"""Classificação da entidade: the kinds of customer and supplier; Gestão writes it, everybody reads it."""

from __future__ import annotations

from crdtsync import Entity, Key, Register, Role


class EntityClassification(
    Entity,
    category="entity_classifications",
    title="Classificação da entidade",
    writers={Role.GESTAO},
    download=6,
):
    """One classification."""

    id = Key()
    name = Register(str, max_length=120)
    active = Register(bool, default=True)
