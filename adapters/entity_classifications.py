"""Classificação da entidade: the kinds of customer and supplier; Gestão writes it, everybody reads it."""

from __future__ import annotations

from crdtsync import Entity, Key, Register, Role, Severity, concurrent_edits


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

    edited_once = concurrent_edits(
        "C25",
        title="Mesmo campo da classificação editado nos dois lados",
        owner=Role.GESTAO,
        severity=Severity.M,
        effect="Vale a última edição; a outra se perde.",
    )
