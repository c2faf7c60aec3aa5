"""Cidade: the municipalities of the IBGE; Gestão writes the table, everybody reads it."""

from __future__ import annotations

from crdtsync import Entity, Key, Register, Role, check

ABROAD = "9999999"
"""The code that fiscal documents use for an address abroad; its state is "EX"."""

# fmt: off
STATES = {
    "11": "RO", "12": "AC", "13": "AM", "14": "RR", "15": "PA", "16": "AP", "17": "TO",
    "21": "MA", "22": "PI", "23": "CE", "24": "RN", "25": "PB", "26": "PE", "27": "AL", "28": "SE", "29": "BA",
    "31": "MG", "32": "ES", "33": "RJ", "35": "SP", "41": "PR", "42": "SC", "43": "RS",
    "50": "MS", "51": "MT", "52": "GO", "53": "DF", "99": "EX",
}
# fmt: on
"""First two digits of a city's code -> its state."""

_WRONG_DIGIT = frozenset(
    {"2201919", "2201988", "2202251", "2611533", "3117836", "3152131", "4305871", "5203939", "5203962"}
)
"""Nine real municipalities whose check digit does not follow the rule."""


def city_code(text: str) -> str:
    """Return the code as it is stored.

    Raises:
        ValueError: it is not an IBGE city code of seven digits, or its check digit is wrong.
    """
    if len(text) != 7 or not (text.isascii() and text.isdigit()) or text[:2] not in STATES:
        raise ValueError(f"{text!r} is not an IBGE city code of seven digits")
    if text not in _WRONG_DIGIT | {ABROAD} and text[6] != _check_digit(text):
        raise ValueError(f"{text!r} is an IBGE city code with a wrong check digit")
    return text


def _check_digit(code: str) -> str:
    products = (int(digit) * weight for digit, weight in zip(code, (1, 2, 1, 2, 1, 2), strict=False))
    return str(-sum(product // 10 + product % 10 for product in products) % 10)


class City(Entity, category="cities", title="Cidade", writers={Role.GESTAO}, download=5):
    """One municipality, by its IBGE code."""

    code = Key(r"[1-5][0-9]{6}|9999999", check=city_code)
    name = Register(str, max_length=60)
    state = Register(str, pattern=r"[A-Z]{2}")

    @property
    def label(self) -> str:
        """What to show: 232 names are shared by several states."""
        return f"{self.name} ({self.state})"

    @check
    def state_is_the_codes(self) -> bool:
        """The first two digits of a city's code say its state."""
        return STATES.get(self.code[:2]) == self.state
