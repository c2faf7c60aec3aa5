"""Configurações da conta: named values that all programs of an account obey; those of one group change together.

Which of two writes had seen the other is known for one record only. So each group has a record that every write of one
of its settings writes too, with all of them as the writer saw them: that one tells when two sides changed a group
without knowing of each other, though each wrote another setting.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from crdtsync import Broken, Case, Entity, Key, Register, Role, Severity, Verdict, check, invariant, option

if TYPE_CHECKING:
    from crdtsync import Writes

_WHOLE = ".*"
_VALUE_CHARS_MAX = 4_000
_GROUP_CHARS_MAX = 64 * 1024


class AccountSetting(
    Entity,
    category="account_settings",
    title="Configurações da conta",
    writers={Role.GESTAO, Role.LOJA},
    upload=3,
):
    """One setting; names are dotted, and those with the same first part ("nfce.serie") change together.

    The record "nfce.*" holds the whole group, as JSON, as its last writer saw it. It is written with the others;
    programs read the settings themselves.
    """

    name = Key(r"[a-z0-9_]+((\.[a-z0-9_]+)*|\.\*)")
    value = Register(str, max_length=_GROUP_CHARS_MAX)

    @property
    def group(self) -> str:
        """The first part of the name."""
        return self.name.partition(".")[0]

    @property
    def whole_group(self) -> bool:
        """Whether this record holds its whole group."""
        return self.name.endswith(_WHOLE)

    async def before_write(self, tx: Writes) -> None:
        """Write the record of the group too, whoever writes a setting and however."""
        if self.whole_group:
            return
        whole = await tx.find(AccountSetting, self.group + _WHOLE)
        if whole is None:
            whole = tx.create(AccountSetting, name=self.group + _WHOLE, value="{}")
        elif whole.deleted:
            whole.restore()
        names = {name for told in whole.told() for name in told} | {self.name}
        found = {name: await tx.find(AccountSetting, name) for name in sorted(names)}
        whole.value = _written({name: one.value for name, one in found.items() if one and not one.deleted})

    def told(self) -> list[dict[str, str]]:
        """The group as each of its concurrent writers saw it, the one that shows first."""
        return [_read(text) for text in self.conflicts.get("value", [self.value])]

    @check
    def value_is_short(self) -> bool:
        """A setting's value has at most 4000 characters."""
        return self.whole_group or len(self.value) <= _VALUE_CHARS_MAX

    @invariant(
        "C24",
        title="Configuração da conta editada nos dois lados",
        owner=Role.GESTAO,
        severity=Severity.A,
        effect="Vale a última edição de cada configuração, e juntas elas podem não servir.",
    )
    def group_was_edited_at_one_place(self) -> Verdict:
        """Os dois lados mudaram configurações do mesmo grupo sem saber um do outro."""
        if not self.whole_group or "value" not in self.conflicts:
            return True
        sides = self.told()
        names = sorted({name for side in sides for name in side})
        different = [name for name in names if len({side.get(name) for side in sides}) > 1]
        told = [
            f"{letter}: " + ", ".join(f"{name} = {side.get(name, '(nada)')}" for name in different)
            for letter, side in zip("ABCDEFGH", sides, strict=False)
        ]
        return Broken(
            f"O grupo “{self.group}” foi mudado em {len(sides)} lugares ({'; '.join(told)}).",
            facts={"grupo": self.group, "lados": sides},
        )

    @option("C24", "a", "Valer o lado A", settles=False)
    async def take_first(self, case: Case) -> None:
        """O grupo inteiro fica como o lado A o deixou."""
        await _apply(case, 0)

    @option("C24", "b", "Valer o lado B", settles=False)
    async def take_second(self, case: Case) -> None:
        """O grupo inteiro fica como o lado B o deixou."""
        await _apply(case, 1)

    @option("C24", "combinar", "Combinar", settles=False)
    async def combine(self, case: Case) -> None:
        """Fica o que vale agora de cada configuração, dos dois lados."""
        names = {name for side in case.facts["lados"] for name in side}
        found = {name: await case.tx.find(AccountSetting, name) for name in sorted(names)}
        self.value = _written({name: one.value for name, one in found.items() if one and not one.deleted})


def _read(text: str) -> dict[str, str]:
    """Read the record of a group; nothing where somebody wrote something else into it by hand."""
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in told.items()} if isinstance(told, dict) else {}


def _written(values: dict[str, str]) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True)


async def _apply(case: Case, place: int) -> None:
    """Write the settings of a group as one side had them."""
    sides: list[dict[str, str]] = case.facts["lados"]
    chosen = sides[place]
    for name in sorted({name for side in sides for name in side}):
        known = await case.tx.find(AccountSetting, name)
        if name not in chosen:
            if known is not None and not known.deleted:
                known.delete()
        elif known is None:
            case.tx.create(AccountSetting, name=name, value=chosen[name])
        else:
            if known.deleted:
                known.restore()
            known.value = chosen[name]
