"""Carta de correção (CC-e, event 110110): facts that correct an authorized NF-e.

It cannot tell what a text talks about: that a letter leaves tax values, parties and dates alone is for who writes it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from adapters.access_keys import ACCESS_KEY, AccessKey, access_key
from crdtsync import Entity, Key, Once, Register, Role, by_store_month, check

_DEADLINE = timedelta(hours=720)
_SEQUENCE_MAX = 20

# Latin-1 without control characters and line breaks, no space at either end, as the NF-e schema wants it.
_TEXT = r"[!-~\xa1-\xff][ -~\xa0-\xff]{13,998}[!-~\xa1-\xff]"


class CorrectionLetter(
    Entity,
    category="correction_letters",
    title="Carta de correção",
    writers={Role.LOJA},
    holders={Role.GESTAO, Role.LOJA},
    partition=by_store_month("issued_at"),
    upload=1,
):
    """One letter of an NF-e; the last one restates the earlier ones. `protocol` is SEFAZ's answer, absent until it comes."""

    access_key = Key(ACCESS_KEY, check=access_key)
    sequence = Key(int)
    issued_at = Once(datetime)
    invoice_authorized_at = Once(datetime)
    text = Once(str, pattern=_TEXT)
    protocol = Register(str, optional=True, pattern=r"[0-9]{15}")

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
