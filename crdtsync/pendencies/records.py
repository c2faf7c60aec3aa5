"""What people did about pendencies, and what only one node saw: three categories like any other.

They come in through the same door as an adapter's. Decisions and incidents are facts; nothing here edits one.
"""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from crdtsync.schema import (
    Broken,
    Entity,
    Key,
    Once,
    Ref,
    Register,
    Role,
    Severity,
    by_place,
    check,
    invariant,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crdtsync.schema import Case, Records, Verdict

_EVERYBODY = {Role.GESTAO, Role.LOJA, Role.CAIXA}
_JSON_CHARS_MAX = 4_000
_REASON_CHARS_MAX = 1_000
_ID_CHARS_MAX = 600


class Person(Entity, category="people", title="Pessoas", writers=_EVERYBODY):
    """Somebody who decides. `pin_hash` is `scrypt$salt$hash` in hexadecimal, never the PIN; `job` what they are."""

    id = Key(r"[a-z0-9][a-z0-9_.-]{0,63}")
    name = Register(str, max_length=120)
    job = Register(str, optional=True, max_length=60)
    pin_hash = Register(str, optional=True, pattern=r"scrypt\$[0-9a-f]{32}\$[0-9a-f]{64}")
    active = Register(bool, default=True)


class Act(StrEnum):
    """What a person did about a pendency."""

    VISTA = "vista"
    NOTA = "nota"
    DECISAO = "decisao"
    DESFEITA = "desfeita"


class Decision(
    Entity, category="decisions", title="Decisões", writers=_EVERYBODY, partition=by_place("place")
):
    """One act of a person about one episode of a pendency; `withdraws` names the decision that a `desfeita` takes back."""

    id = Key()
    place = Once(str, max_length=64)
    pendency = Once(str, max_length=_ID_CHARS_MAX, index=True)
    episode = Once(str, max_length=64)
    act = Once(Act)
    option = Once(str, optional=True, max_length=64)
    why = Once(str, optional=True, max_length=_REASON_CHARS_MAX)
    values = Once(str, optional=True, max_length=_JSON_CHARS_MAX)
    person = Once(Ref(Person))
    at = Once(datetime)
    withdraws = Once(str, optional=True, max_length=64, index=True)

    @check
    def says_what_was_decided(self) -> bool:
        """A decision names its option and its reason, a note has a text, a withdrawal names what it takes back."""
        if self.act is Act.DECISAO:
            return bool(self.option) and bool(self.why)
        if self.act is Act.DESFEITA:
            return bool(self.withdraws)
        return self.act is Act.VISTA or bool(self.why)

    @invariant(
        "P02",
        title="Decisões diferentes para a mesma pendência",
        owner=Role.LOJA,
        severity=Severity.A,
        effect="Valem as duas; o que cada uma escreveu continua escrito.",
        group=("pendency", "episode"),
        several=True,
    )
    def one_answer(self, others: Sequence[Self], records: Records) -> Verdict:
        """Duas pessoas decidiram a mesma pendência de modos diferentes."""
        told = [one for one in (self, *others) if one.act is Act.DECISAO]
        gone = {one.withdraws for one in (self, *others) if one.act is Act.DESFEITA}
        stand = [one for one in told if one.key not in gone]
        if len({one.option for one in stand}) < 2:
            return True
        names = {one.key: records.get(Person, one.person) for one in stand}
        said = [
            f"{person.name if person else one.person}: {one.option}"
            for one, person in ((one, names[one.key]) for one in stand)
        ]
        return Broken(
            f"Decidiram a pendência {self.pendency} de modos diferentes — " + "; ".join(said) + ".",
            records=stand,
            facts={"decisions": sorted(one.key for one in stand)},
        )


WRONG_CLOCK = "relogio_errado"
"""Kind of an incident: a node's clock is far from that of the node above it, by `segundos` (positive: ahead)."""

CLOCK_CORRECTED = "relogio_corrigido"
"""Kind of an incident: times that a device wrote are to be read with `segundos` added, from the incident that it names."""


def _wrong_clock(incident: Incident) -> str | None:
    """File the incidents of one device's clock together: one pendency a device, however many days it lasts."""
    return f"{incident.place}/{incident.device}" if incident.kind == WRONG_CLOCK else None


class Incident(
    Entity, category="incidents", title="Ocorrências", writers=_EVERYBODY, partition=by_place("place")
):
    """What only one node saw, as a fact that rules read: `kind` says what, `facts` are JSON."""

    id = Key()
    place = Once(str, max_length=64)
    kind = Once(str, pattern=r"[a-z][a-z0-9_]{0,63}")
    device = Once(str, max_length=64)
    seen_by = Once(str, max_length=64)
    happened_at = Once(datetime)
    facts = Once(str, max_length=_JSON_CHARS_MAX)

    @property
    def details(self) -> dict[str, Any]:
        """The facts as values; empty when they are no JSON object."""
        try:
            found = json.loads(self.facts)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @invariant(
        "C26",
        title="Relógio da estação errado",
        owner=Role.LOJA,
        severity=Severity.M,
        effect="Vendas e operações dessa estação ficam com a hora errada nos relatórios; a ordem das edições já é corrigida.",
        group=_wrong_clock,
    )
    def clock_is_right(self, others: Sequence[Self]) -> Verdict:
        """O relógio de uma estação está longe do relógio do nó acima dela."""
        latest = max((self, *others), key=lambda one: (one.happened_at, one.key))
        seconds = latest.details.get("segundos", 0)
        minutes, way = max(1, round(abs(seconds) / 60)), "adiantado" if seconds > 0 else "atrasado"
        return Broken(
            f"O relógio da estação {latest.device} está {minutes} min {way} em relação a {latest.seen_by}.",
            records=(latest,),
            facts={"estacao": latest.device, "ocorrencia": latest.key, "segundos": seconds},
        )

    @option("C26", "corrigir", "Corrigir pela diferença")
    async def correct_by_the_difference(self, case: Case) -> None:
        """Anota a diferença, para que os relatórios leiam com ela as horas que a estação escreveu."""
        case.tx.create(
            Incident,
            id=case.name(),
            place=self.place,
            kind=CLOCK_CORRECTED,
            device=self.device,
            seen_by=self.seen_by,
            happened_at=self.happened_at,
            facts=json.dumps({"segundos": -case.facts["segundos"], "ocorrencia": case.facts["ocorrencia"]}),
        )

    @option("C26", "manter", "Manter as horas como estão")
    async def keep_as_written(self, case: Case) -> None:
        """As horas ficam como a estação as escreveu."""
