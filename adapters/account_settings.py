"""Configurações da conta: named values that all programs of an account obey."""

from __future__ import annotations

from crdtsync import Entity, Key, Register, Role


class AccountSetting(
    Entity,
    category="account_settings",
    title="Configurações da conta",
    writers={Role.GESTAO, Role.LOJA},
    upload=3,
):
    """One setting; names are dotted, and those with the same first part ("nfce.serie") change together."""

    name = Key(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
    value = Register(str, max_length=4000)

    @property
    def group(self) -> str:
        """The first part of the name."""
        return self.name.partition(".")[0]
