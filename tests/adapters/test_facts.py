"""Categories of facts: sales, till operations, receivables, correction letters, e-mail history."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from adapters.correction_letters import CorrectionLetter
from adapters.email_history import EmailMessage, EmailResult
from adapters.receivables import Receivable, ReceivableStatus, Settlement
from adapters.sales import Payment, PaymentMethod, Sale, SaleLine
from adapters.till_operations import TillOperation, TillOperationKind
from crdtsync.errors import FieldError
from tests.adapters.records import holds, record, refusal

NOW = datetime(2026, 8, 24, 13, 0, tzinfo=UTC)
NFE_KEY = "52060433009911002506550120000007800267301615"
NFCE_KEY = "35260812ABC34501DE35650010000000421123456783"
FISCAL = {"issuer": "12ABC34501DE35", "model": "65", "series": 1, "number": 42}


def sale(**values: object) -> dict[str, object]:
    line = SaleLine(product="1", quantity=Decimal("0.355"), unit_price=Decimal("9.90"))
    payment = Payment(method=PaymentMethod.PIX, amount=Decimal("3.51"))
    return {"id": "s1", "sold_at": NOW, "lines": [line], "payments": [payment], **values}


def test_a_sale_that_adds_up_may_be_written() -> None:
    assert refusal(Sale, **sale()) is None
    assert refusal(Sale, **sale(**FISCAL)) is None
    assert refusal(Sale, **sale(**FISCAL, access_key=NFCE_KEY)) is None


def test_a_lines_total_is_rounded_half_up_to_the_cent_before_the_discount() -> None:
    line = SaleLine(
        product="1", quantity=Decimal("0.5"), unit_price=Decimal("0.25"), discount=Decimal("0.03")
    )
    assert line.total == Decimal("0.10")
    assert record(Sale, **sale(lines=[line, line])).total == Decimal("0.20")


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"lines": [], "payments": []}, "has_lines"),
        ({"lines": [SaleLine(product="1", quantity=Decimal(-1), unit_price=Decimal(1))]}, "lines_are_sound"),
        ({"lines": [SaleLine(product="1", quantity=Decimal(1), unit_price=Decimal(-1))]}, "lines_are_sound"),
        (
            {
                "lines": [
                    SaleLine(product="1", quantity=Decimal(1), unit_price=Decimal(1), discount=Decimal(2))
                ]
            },
            "lines_are_sound",
        ),
        ({"payments": []}, "payments_make_the_total"),
        (
            {"payments": [Payment(method=PaymentMethod.PIX, amount=Decimal("3.50"))]},
            "payments_make_the_total",
        ),
        (
            {
                "payments": [
                    Payment(method=PaymentMethod.PIX, amount=Decimal("4.51")),
                    Payment(method=PaymentMethod.DINHEIRO, amount=Decimal(-1)),
                ]
            },
            "payments_make_the_total",
        ),
        ({"number": 42}, "fiscal_number_is_whole"),
        ({"issuer": "12ABC34501DE35"}, "fiscal_number_is_whole"),
        (FISCAL | {"issuer": None}, "fiscal_number_is_whole"),
        (FISCAL | {"series": 1000}, "fiscal_number_is_whole"),
        (FISCAL | {"number": 0}, "fiscal_number_is_whole"),
        ({"access_key": NFCE_KEY}, "access_key_says_the_same"),
        (FISCAL | {"number": 43, "access_key": NFCE_KEY}, "access_key_says_the_same"),
    ],
)
def test_a_sale_that_breaks_a_rule_is_refused(changed: dict[str, object], rule: str) -> None:
    assert refusal(Sale, **sale(**changed)) == rule


def test_a_sale_without_payment_of_a_free_line_may_be_written() -> None:
    gift = SaleLine(product="1", quantity=Decimal(1), unit_price=Decimal(0))
    assert refusal(Sale, **sale(lines=[gift], payments=[])) is None


def test_a_float_price_is_refused() -> None:
    with pytest.raises(FieldError, match="unit_price"):
        SaleLine(product="1", quantity=Decimal(1), unit_price=9.9)


def test_a_repeated_fiscal_number_opens_c14_if_the_documents_differ() -> None:
    other_key = "35260812ABC34501DE35650010000000421876543217"
    first = record(Sale, **sale(**FISCAL, access_key=NFCE_KEY))
    assert holds(first, "C14", [])
    assert holds(first, "C14", [record(Sale, **sale(id="s2", **FISCAL, access_key=NFCE_KEY))])
    assert not holds(first, "C14", [record(Sale, **sale(id="s2", **FISCAL, access_key=other_key))])


def test_sales_without_a_fiscal_number_never_open_c14() -> None:
    assert holds(record(Sale, **sale()), "C14", [record(Sale, **sale(id="s2"))])


def till(kind: TillOperationKind, amount: str, **values: object) -> dict[str, object]:
    return {"id": "t1", "kind": kind, "happened_at": NOW, "shift": "1", "amount": Decimal(amount), **values}


@pytest.mark.parametrize(
    ("operation", "rule"),
    [
        (till(TillOperationKind.ABERTURA, "0"), None),
        (till(TillOperationKind.VENDA, "3.51", sale="s1"), None),
        (till(TillOperationKind.SUPRIMENTO, "100"), None),
        (till(TillOperationKind.SANGRIA, "500", reason="cofre"), None),
        (till(TillOperationKind.FECHAMENTO, "250.30"), None),
        (till(TillOperationKind.ABERTURA, "-1"), "amount_is_sound"),
        (till(TillOperationKind.SUPRIMENTO, "0"), "amount_is_sound"),
        (till(TillOperationKind.SANGRIA, "0", reason="cofre"), "amount_is_sound"),
        (till(TillOperationKind.SANGRIA, "500"), "sangria_has_a_reason"),
        (till(TillOperationKind.VENDA, "3.51"), "sale_is_named"),
        (till(TillOperationKind.FECHAMENTO, "3.51", sale="s1"), "sale_is_named"),
    ],
)
def test_each_till_operation_obeys_its_kind(operation: dict[str, object], rule: str | None) -> None:
    assert refusal(TillOperation, **operation) == rule


def settlement(number: int, amount: str, device: str = "caixa1") -> Settlement:
    return Settlement(
        id=f"q{number}", settled_at=NOW, amount=Decimal(amount), method=PaymentMethod.DINHEIRO, device=device
    )


def receivable(*settlements: Settlement, **values: object) -> dict[str, object]:
    return {
        "id": "r1",
        "number": "100/1",
        "customer": "c1",
        "issued_on": date(2026, 8, 1),
        "due_on": date(2026, 9, 1),
        "value": Decimal(100),
        "settlements": list(settlements),
        **values,
    }


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (receivable(), ReceivableStatus.ABERTO),
        (receivable(settlement(1, "40")), ReceivableStatus.PARCIAL),
        (receivable(settlement(1, "40"), settlement(2, "60")), ReceivableStatus.QUITADO),
        (receivable(settlement(1, "90"), discount=Decimal(10)), ReceivableStatus.QUITADO),
        (receivable(settlement(1, "100"), interest=Decimal(1)), ReceivableStatus.PARCIAL),
        (receivable(settlement(1, "100"), settlement(2, "-100")), ReceivableStatus.ABERTO),
        (receivable(cancelled=True), ReceivableStatus.CANCELADO),
    ],
)
def test_a_receivables_status_follows_from_its_settlements(
    values: dict[str, object], status: ReceivableStatus
) -> None:
    assert record(Receivable, **values).status is status


def test_a_receivable_is_overdue_the_day_after_it_is_due_unless_paid() -> None:
    assert not record(Receivable, **receivable()).is_overdue(date(2026, 9, 1))
    assert record(Receivable, **receivable()).is_overdue(date(2026, 9, 2))
    assert not record(Receivable, **receivable(settlement(1, "100"))).is_overdue(date(2026, 9, 2))


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (receivable(settlement(1, "100")), None),
        (receivable(value=Decimal(0)), "amounts_are_sound"),
        (receivable(interest=Decimal(-1)), "amounts_are_sound"),
        (receivable(discount=Decimal(101)), "amounts_are_sound"),
        (receivable(due_on=date(2026, 7, 31)), "due_after_issue"),
        (receivable(settlement(1, "100"), settlement(2, "100")), "one_device_takes_no_more_than_is_due"),
    ],
)
def test_a_receivable_that_breaks_a_rule_is_refused(values: dict[str, object], rule: str | None) -> None:
    assert refusal(Receivable, **values) == rule


def test_two_lanes_that_take_the_same_payment_open_c08_and_a_reversal_closes_it() -> None:
    twice = (settlement(1, "100"), settlement(2, "100", "caixa2"))
    assert not holds(record(Receivable, **receivable(*twice)), "C08")
    assert refusal(Receivable, **receivable(*twice)) is None
    assert holds(record(Receivable, **receivable(*twice, settlement(3, "-100", "loja1"))), "C08")


def test_two_lanes_that_each_take_a_part_open_nothing() -> None:
    assert holds(record(Receivable, **receivable(settlement(1, "40"), settlement(2, "60", "caixa2"))), "C08")


def letter(**values: object) -> dict[str, object]:
    return {
        "access_key": NFE_KEY,
        "sequence": 1,
        "issued_at": NOW,
        "invoice_authorized_at": NOW - timedelta(hours=720),
        "text": "Onde se lê caixa, leia-se fardo.",
        **values,
    }


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({}, None),
        ({"sequence": 20}, None),
        ({"sequence": 0}, "sequence_is_in_range"),
        ({"sequence": 21}, "sequence_is_in_range"),
        ({"access_key": NFCE_KEY}, "corrects_an_nfe"),
        ({"issued_at": NOW + timedelta(seconds=1)}, "is_in_time"),
        ({"issued_at": NOW - timedelta(hours=721)}, "is_in_time"),
    ],
)
def test_a_letter_obeys_model_sequence_and_deadline(changed: dict[str, object], rule: str | None) -> None:
    assert refusal(CorrectionLetter, **letter(**changed)) == rule


def test_letters_of_one_invoice_differ_by_sequence() -> None:
    assert record(CorrectionLetter, **letter(sequence=2)).key == f"{NFE_KEY}:2"


@pytest.mark.parametrize("text", ["x" * 15, "x" * 1000, "Correção: endereço nº 5, São João"])
def test_a_letters_text_may_have_15_to_1000_latin_characters(text: str) -> None:
    assert record(CorrectionLetter, **letter(text=text)).text == text


@pytest.mark.parametrize(
    "text",
    [
        "x" * 14,
        "x" * 1001,
        "linha um\nlinha dois",
        "preço em € errado",
        " espaço no começo",
        "próxima\x85linha um",
    ],
)
def test_a_letters_text_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(FieldError, match=r"correction_letters\.text"):
        record(CorrectionLetter, **letter(text=text))


def email(**values: object) -> dict[str, object]:
    return {
        "id": "m1",
        "sent_at": NOW,
        "recipient": "ana@loja.com.br",
        "subject": "Sua nota",
        "result": EmailResult.ENVIADO,
        **values,
    }


def test_a_failed_email_says_why_and_a_sent_one_says_nothing() -> None:
    assert refusal(EmailMessage, **email(sale="s1")) is None
    assert refusal(EmailMessage, **email(result=EmailResult.FALHOU, error="550 no such user")) is None
    assert refusal(EmailMessage, **email(result=EmailResult.FALHOU)) == "failure_is_explained"
    assert refusal(EmailMessage, **email(error="550 no such user")) == "failure_is_explained"
    with pytest.raises(FieldError, match=r"email_history\.recipient"):
        record(EmailMessage, **email(recipient="ana at loja"))
