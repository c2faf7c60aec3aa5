"""The two rules that many entities want: references that hold, and registers that nobody wrote at two places at once.

An adapter declares them with `references` and `concurrent_edits`; here they become invariants with their options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crdtsync.errors import FieldError
from crdtsync.said import say
from crdtsync.schema.fields import Field, Kind
from crdtsync.schema.rules import Broken, Invariant, Option, RuleKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from crdtsync.schema.entity import Entity
    from crdtsync.schema.rules import Case, ConcurrentEdits, Records, References, Verdict


def references_rule(declared: References, refs: tuple[Field[Any], ...]) -> Invariant:
    """Return the invariant that every one of `refs`, unless empty, points to a record that is there and active.

    A record that is itself inactive is of no concern, nor is a target that was deleted and whose own category has a
    rule about that: one cause, one pendency.
    """
    targets = {one.name: one.ref or "" for one in refs}

    def all_present(self: Entity, records: Records) -> Verdict:
        if "active" in self.__shape__.fields and not self.active:  # type: ignore[attr-defined]
            return True
        keys = {name: getattr(self, name) for name in targets}
        gone = {
            name: str(key)
            for name, key in keys.items()
            if key is not None
            and not records.present(targets[name], str(key))
            and not _tells_itself(records.get_in(targets[name], str(key)))
        }
        return Broken(facts=gone) if gone else True

    async def replace(self: Entity, case: Case) -> None:
        """Escreve a chave de outro registro no lugar da que falta."""
        for name, text in _answers(self, case).items():
            setattr(self, name, text)

    async def revive(_self: Entity, case: Case) -> None:
        """Traz de volta o registro que falta, ativo."""
        for target in case.records[1:]:
            if target.deleted:
                target.restore()
            if "active" in target.__shape__.fields:
                setattr(target, "active", True)  # noqa: B010 - the field is there only in some categories

    async def fetch(_self: Entity, _case: Case) -> None:
        """Espera a próxima baixa da tabela; a pendência se encerra quando o registro chegar."""

    def all_and_targets(self: Entity, records: Records) -> Verdict:
        found = all_present(self, records)
        if not isinstance(found, Broken) or found.facts is None:
            return found
        there = (records.get_in(targets[name], key) for name, key in found.facts.items())
        return Broken(facts=found.facts, records=[record for record in there if record is not None])

    return Invariant(
        declared.code,
        declared.title,
        declared.owner,
        declared.severity,
        RuleKind.RECORD,
        all_and_targets,
        tuple(targets),
        None,
        "Uma referência aponta para um registro que não existe, foi excluído ou está inativo.",
        frozenset({"records"}),
        declared.effect,
        absence=True,
        options=(
            _option(declared.code, "substituir", "Substituir por outro registro", replace, ("valor",)),
            _option(declared.code, "reativar", "Reativar o registro que falta", revive),
            _option(declared.code, "baixar", "Baixar a tabela e reenviar", fetch, settles=False),
        ),
    )


def concurrent_edits_rule(declared: ConcurrentEdits, fields: dict[str, Field[Any]]) -> Invariant:
    """Return the invariant that no register was written at two places by people who had not seen each other."""
    registers = [name for name, one in fields.items() if one.kind is Kind.REGISTER]
    looked_at = tuple(name for name in declared.fields or registers if name not in declared.but)

    def nobody_else_wrote(self: Entity) -> Verdict:
        rivals = {name: values for name, values in self.conflicts.items() if name in looked_at}
        if not rivals:
            return True
        told = {name: [str(value) for value in values] for name, values in rivals.items()}
        text = "; ".join(f"{name}: " + " · ".join(values) for name, values in told.items())
        return Broken(f"O mesmo campo foi editado em dois lugares ({text}). Vale o primeiro.", facts=told)

    async def first(self: Entity, case: Case) -> None:
        """Mantém o valor que vale agora."""
        _choose(self, case, 0)

    async def second(self: Entity, case: Case) -> None:
        """Troca pelo outro valor."""
        _choose(self, case, 1)

    async def other(self: Entity, case: Case) -> None:
        """Escreve um valor novo."""
        for name, text in _answers(self, case).items():
            setattr(self, name, fields[name].parse(text))

    return Invariant(
        declared.code,
        declared.title,
        declared.owner,
        declared.severity,
        RuleKind.RECORD,
        nobody_else_wrote,
        (),
        None,
        "O mesmo campo foi editado em dois lugares.",
        frozenset(),
        declared.effect,
        only_conflicts=True,
        options=(
            _option(declared.code, "a", "Manter o valor A, que vale agora", first),
            _option(declared.code, "b", "Trocar pelo valor B", second),
            _option(declared.code, "outro", "Outro valor", other, ("valor",)),
        ),
    )


def _tells_itself(target: Entity | None) -> bool:
    return (
        target is not None
        and target.deleted
        and any(rule.kind is RuleKind.REFERRED for rule in target.__shape__.invariants)
    )


def _answers(record: Entity, case: Case) -> dict[str, str]:
    """Return what the person wrote for each field in question: `valor` is the value, or `campo=valor; campo=valor`."""
    said = case.values["valor"].strip()
    names = sorted(case.facts)
    if len(names) == 1:
        return {names[0]: said}
    pairs = [part.partition("=") for part in said.split(";")]
    answers = {name.strip(): text.strip() for name, _, text in pairs}
    if answers.keys() != set(names):
        raise FieldError(
            record.__category__,
            ", ".join(names),
            say(
                "several fields are in question; write {form}",
                form="; ".join(f"{name}=..." for name in names),
            ),
        )
    return answers


def _choose(record: Entity, case: Case, place: int) -> None:
    """Write one of the rival values again: a write that has seen all of them ends the conflict."""
    rivals = record.conflicts
    for name in case.facts:
        if name in rivals:
            setattr(record, name, rivals[name][place])
        elif place:
            raise FieldError(
                record.__category__, name, say("there is no other value any more; look at the pendency again")
            )


def _option(
    code: str,
    name: str,
    title: str,
    method: Callable[[Any, Case], Awaitable[None]],
    asks: tuple[str, ...] = (),
    *,
    settles: bool = True,
) -> Option:
    return Option(code, name, title, (method.__doc__ or "").partition("\n")[0], method, None, asks, settles)
