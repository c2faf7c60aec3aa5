"""Carta de correção (CC-e, event 110110): facts that correct an authorized NF-e.

It cannot tell what a text talks about: that a letter leaves tax values, parties and dates alone is for who writes it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from adapters.access_keys import ACCESS_KEY, PROTOCOL, AccessKey
from adapters.access_keys import access_key as valid_key
from crdtsync import (
    Broken,
    Case,
    Entity,
    Key,
    Once,
    Register,
    Role,
    Set,
    Severity,
    Verdict,
    by_store_month,
    check,
    errors,
    invariant,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DEADLINE = timedelta(hours=720)
_SEQUENCE_MAX = 20
_TEXT_CHARS_MIN, _TEXT_CHARS_MAX = 15, 1000

# Latin-1 without control characters and line breaks, no space at either end, as the NF-e schema wants it.
_TEXT = re.compile(r"[!-~\xa1-\xff][ -~\xa0-\xff]{13,998}[!-~\xa1-\xff]")
_NO_LATIN_TEXT = re.compile(r"[^ -~\xa0-\xff]+")


def letter_text(text: str) -> str:
    """Return a letter's text as it is stored.

    It is asked of local writes only: a text that a peer wrote out of bounds merges, and C17 shows it.

    Raises:
        ValueError: it is not 15 to 1000 characters of Latin-1, or has a line break or a space at an end.
    """
    if not _TEXT.fullmatch(text):
        raise ValueError(
            f"{text!r} is not 15 to 1000 Latin-1 characters without line break or space at the ends"
        )
    return text


class CorrectionLetter(
    Entity,
    category="correction_letters",
    title="Carta de correção",
    writers={Role.LOJA},
    holders={Role.GESTAO, Role.LOJA},
    partition=by_store_month("issued_at"),
    upload=1,
):
    """One letter of an NF-e; the last one restates the earlier ones. `protocol` is SEFAZ's answer, absent until it comes.

    What is decided about a letter later is no part of the fact: `discarded` holds the texts that were taken out when two
    devices wrote different ones under one number, `replaced_by` the access key of the complementary NF-e that says
    what the letters could not.
    """

    access_key = Key(ACCESS_KEY, check=valid_key)
    sequence = Key(int)
    issued_at = Once(datetime)
    invoice_authorized_at = Once(datetime)
    text = Once(str, check=letter_text)
    protocol = Register(str, optional=True, pattern=PROTOCOL)
    discarded = Set(str)
    replaced_by = Register(str, optional=True, pattern=ACCESS_KEY, check=valid_key)

    @property
    def texts(self) -> list[str]:
        """The texts in force under this number: one, unless two devices used the number at once."""
        return [text for text in self.conflicts.get("text", [self.text]) if text not in self.discarded]

    @check
    def corrects_an_nfe(self) -> bool:
        """Only an NF-e (model 55) can be corrected; an NFC-e cannot."""
        return AccessKey.parse(self.access_key).model == "55"

    @check
    def sequence_is_in_range(self) -> bool:
        """An NF-e has at most 20 letters, numbered from 1."""
        return 1 <= self.sequence <= _SEQUENCE_MAX

    @check
    def is_in_time(self) -> bool:
        """A letter is issued within 720 hours of the NF-e's authorization, and not before it."""
        return self.invoice_authorized_at <= self.issued_at <= self.invoice_authorized_at + _DEADLINE

    @invariant(
        "C16",
        title="CC-e com sequência repetida",
        owner=Role.LOJA,
        severity=Severity.B,
        effect="A SEFAZ aceita só a primeira (rejeição 573) e a correção da outra se perde.",
        group=("access_key",),
    )
    def sequence_has_one_text(self, others: Sequence[Self]) -> Verdict:
        """Dois aparelhos escreveram cartas diferentes da mesma NF-e com o mesmo número de sequência."""
        by_sequence: dict[int, list[str]] = {}
        for letter in (self, *others):
            by_sequence.setdefault(letter.sequence, []).extend(letter.texts)
        repeated: dict[int, list[str]] = {}
        for sequence, texts in by_sequence.items():
            different = sorted(set(texts))
            later = [text for at, told in by_sequence.items() if at > sequence for text in told]
            if len(different) > 1 and not any(_restates(text, different) for text in later):
                repeated[sequence] = different
        if not repeated:
            return True
        told = "; ".join(f"{n}: " + " · ".join(f"“{text}”" for text in repeated[n]) for n in sorted(repeated))
        number = AccessKey.parse(self.access_key).number
        return Broken(
            f"A NF-e {number} tem cartas diferentes com a mesma sequência ({told}).",
            records=others,
            facts={"chave": self.access_key, "textos": {str(n): repeated[n] for n in sorted(repeated)}},
        )

    @option("C16", "renumerar", "Renumerar e juntar os textos", by={Role.LOJA}, settles=False)
    async def renumber(self, case: Case) -> None:
        """Emite outra carta, com a próxima sequência livre e os textos de todas as anteriores."""
        _consolidate(case, after=max(map(int, case.facts["textos"])))

    @option("C16", "descartar", "Descartar uma", by={Role.LOJA}, asks=("texto",), settles=False)
    async def discard(self, case: Case) -> None:
        """Tira de vigor o texto informado; o fato continua escrito."""
        wanted = case.values["texto"].strip()
        found = [letter for letter in _letters(case) if wanted in letter.texts]
        if not any(wanted in texts for texts in case.facts["textos"].values()) or not found:
            raise errors.FieldError(
                self.__category__,
                "text",
                f"no letter in question says {wanted!r}; give one of its texts whole",
            )
        for letter in found:
            letter.discarded.add(wanted)

    @invariant(
        "C17",
        title="CC-e fora do limite",
        owner=Role.LOJA,
        severity=Severity.B,
        effect="A SEFAZ rejeita a carta (rejeição 594) e a NF-e continua sem a correção.",
        group=("access_key",),
    )
    def letters_are_within_bounds(self, others: Sequence[Self]) -> Verdict:
        """As cartas de uma NF-e passaram do limite de número, prazo ou texto."""
        letters = sorted((self, *others), key=lambda letter: (letter.sequence, letter.doc))
        if any(letter.replaced_by for letter in letters):
            return True
        used = {letter.sequence for letter in letters}
        start = min(letter.invoice_authorized_at for letter in letters)
        problems = [
            f"sequência {n} fora de 1 a {_SEQUENCE_MAX}" for n in sorted(used) if not 1 <= n <= _SEQUENCE_MAX
        ]
        missing = sorted(set(range(1, min(max(used), _SEQUENCE_MAX))) - used)
        problems += [f"falta a sequência {n}" for n in missing]
        problems += [
            f"carta {letter.sequence} emitida fora das 720 horas da autorização"
            for letter in letters
            if not start <= letter.issued_at <= start + _DEADLINE
        ]
        problems += [
            f"carta {letter.sequence} com texto fora do formato de {_TEXT_CHARS_MIN} a {_TEXT_CHARS_MAX} caracteres"
            for letter in letters
            if not all(_TEXT.fullmatch(text) for text in letter.texts)
        ]
        if not problems:
            return True
        number = AccessKey.parse(self.access_key).number
        return Broken(
            f"As cartas da NF-e {number} estão fora do limite: {'; '.join(problems)}.",
            records=others,
            facts={"chave": self.access_key, "problemas": problems},
        )

    @option("C17", "consolidar", "Consolidar na última", by={Role.LOJA})
    async def consolidate(self, case: Case) -> None:
        """Emite uma carta com a primeira sequência livre e os textos de todas."""
        _consolidate(case)

    @option("C17", "complementar", "Emitir nota complementar", by={Role.LOJA}, asks=("chave",), settles=False)
    async def complement(self, case: Case) -> None:
        """Anota a chave da NF-e complementar que diz o que as cartas não puderam dizer."""
        self.replaced_by = case.values["chave"]

    @option("C17", "desistir", "Desistir da correção", by={Role.LOJA})
    async def give_up(self, case: Case) -> None:
        """A NF-e fica como está; o motivo fica escrito."""


def _letters(case: Case) -> list[CorrectionLetter]:
    return [record for record in case.records if isinstance(record, CorrectionLetter)]


def _restates(text: str, others: Iterable[str]) -> bool:
    return all(_clean(other) in text for other in others)


def _clean(text: str) -> str:
    return " ".join(_NO_LATIN_TEXT.sub(" ", text).split())


def _consolidate(case: Case, after: int = 0) -> None:
    """Write a new letter with the next free sequence and the texts of all letters, each said once."""
    letters = sorted(_letters(case), key=lambda letter: (letter.sequence, letter.doc))
    first = letters[0]
    used = {letter.sequence for letter in letters}
    sequence = next(n for n in range(after + 1, max(used, default=0) + after + 2) if n not in used)
    if sequence > _SEQUENCE_MAX:
        raise errors.FieldError(
            first.__category__,
            "sequence",
            f"all {_SEQUENCE_MAX} letters of the NF-e are used; issue a complementary invoice instead",
        )
    texts = dict.fromkeys(_clean(text) for letter in letters for text in sorted(letter.texts))
    kept = [text for text in texts if not any(text != other and text in other for other in texts)]
    joined = " ".join(kept)
    if not _TEXT_CHARS_MIN <= len(joined) <= _TEXT_CHARS_MAX:
        raise errors.FieldError(
            first.__category__,
            "text",
            f"the texts together have {len(joined)} characters and one letter holds {_TEXT_CHARS_MIN} to "
            f"{_TEXT_CHARS_MAX}; discard one, or issue a complementary invoice",
        )
    case.tx.create(
        CorrectionLetter,
        access_key=first.access_key,
        sequence=sequence,
        issued_at=case.now,
        invoice_authorized_at=min(letter.invoice_authorized_at for letter in letters),
        text=joined,
    )
