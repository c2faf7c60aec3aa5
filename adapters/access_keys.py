"""The access key (chave de acesso) of an NF-e or NFC-e: its parts and its check digit.

The layout is that of the Manual de Orientação do Contribuinte (MOC), with the alphanumeric CNPJ of 2026. It never asks
SEFAZ whether the document exists. A key is text, never a number: it has 44 characters and may have letters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ACCESS_KEY = r"[0-9]{6}[A-Z0-9]{12}[0-9]{26}"
"""The stored form."""

PROTOCOL = r"[0-9]{15}"
"""What SEFAZ answers when it authorizes a document or registers an event: a number of 15 digits."""

_LAYOUT = re.compile(
    # The first group is the states' IBGE codes.
    r"(?P<state>1[1-7]|2[1-9]|3[1235]|4[123]|5[0-3])(?P<year_month>[0-9]{2}(?:0[1-9]|1[0-2]))"
    r"(?P<issuer>[A-Z0-9]{12}[0-9]{2})(?P<model>55|65)(?P<series>[0-9]{3})(?P<number>[0-9]{9})"
    r"(?P<emission>[0-9])[0-9]{9}"
)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """The parts of a valid key.

    Attributes:
        state: IBGE code of the state, two digits ("35").
        year_month: when it was issued, "2608" for August 2026.
        issuer: CNPJ of who issued it, 14 characters (an individual's CPF has three zeros before it).
        model: "55" NF-e or "65" NFC-e.
        series: 0 to 999.
        number: the fiscal number, 1 to 999,999,999.
        emission: how it was issued (tpEmis): "1" normal, "9" an NFC-e in contingency, to be transmitted afterwards.
    """

    state: str
    year_month: str
    issuer: str
    model: str
    series: int
    number: int
    emission: str

    @classmethod
    def parse(cls, text: str) -> AccessKey:
        """Return the parts of a key.

        Raises:
            ValueError: the text is not a valid key.
        """
        parts = _LAYOUT.fullmatch(text)
        if parts is None or int(parts["number"]) == 0:
            raise ValueError(f"{text!r} is not an access key of an NF-e or NFC-e")
        if text[43] != check_digit(text[:43]):
            raise ValueError(f"{text!r} is an access key with a wrong check digit")
        return cls(
            parts["state"],
            parts["year_month"],
            parts["issuer"],
            parts["model"],
            int(parts["series"]),
            int(parts["number"]),
            parts["emission"],
        )


def check_digit(text: str) -> str:
    """The 44th character of the 43 given: modulo 11, weights 2 to 9 from the right, a character counts ASCII - 48."""
    total = sum((ord(character) - 48) * (2 + place % 8) for place, character in enumerate(reversed(text)))
    rest = total % 11
    return "0" if rest < 2 else str(11 - rest)


def access_key(text: str) -> str:
    """Return the key as it is stored, without the spaces it is printed with.

    Raises:
        ValueError: the text is not a valid key.
    """
    stored = "".join(text.split())
    AccessKey.parse(stored)
    return stored
