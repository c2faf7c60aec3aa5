"""Histórico de envios de e-mail: which message went to whom about what; facts. It never holds the message's body."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from adapters.receivables import Receivable
from adapters.sales import Sale
from crdtsync import Entity, Key, Once, Ref, Role, by_store_month, check


class EmailResult(StrEnum):
    """How the sending ended."""

    ENVIADO = "enviado"
    FALHOU = "falhou"


class EmailMessage(
    Entity,
    category="email_history",
    title="Histórico de envios de e-mail",
    writers={Role.LOJA},
    holders={Role.GESTAO, Role.LOJA},
    partition=by_store_month("sent_at"),
    upload=6,
):
    """One sending; another attempt is another record."""

    id = Key()
    sent_at = Once(datetime)
    recipient = Once(str, max_length=254, pattern=r"[^@\s]+@[^@\s]+")
    subject = Once(str, max_length=200)
    result = Once(EmailResult)
    error = Once(str, optional=True, max_length=500)
    sale = Once(Ref(Sale), optional=True)
    receivable = Once(Ref(Receivable), optional=True)

    @check
    def failure_is_explained(self) -> bool:
        """A sending that failed says why, and one that did not says nothing."""
        return (self.result is EmailResult.FALHOU) == (self.error is not None)
