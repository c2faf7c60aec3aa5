"""What the trade's numbers accept and refuse, with real examples."""

from __future__ import annotations

import pytest

from adapters.access_keys import AccessKey, access_key, check_digit
from adapters.cities import city_code
from adapters.products import gtin
from adapters.tax_ids import tax_id

# The example of the Manual de Orientação do Contribuinte, and one of 2026 with letters in the CNPJ.
MANUAL_KEY = "52060433009911002506550120000007800267301615"
LETTERS_KEY = "3526" + "08" + "12ABC34501DE35" + "65" + "001" + "000000042" + "1" + "12345678" + "3"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("529.982.247-25", "52998224725"),
        ("52998224725", "52998224725"),
        ("11.222.333/0001-81", "11222333000181"),
        ("12.abc.345/01de-35", "12ABC34501DE35"),
    ],
)
def test_cpf_and_cnpj_are_stored_without_mask_and_in_upper_case(text: str, stored: str) -> None:
    assert tax_id(text) == stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        "11111111111",
        "00000000000000",
        "52998224726",
        "5299822472",
        "12ABC34501DE36",
        "12ABC34501DEA5",
        "5299822472A",
    ],
)
def test_what_is_no_cpf_or_cnpj_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a valid CPF or CNPJ"):
        tax_id(text)


def test_the_manuals_access_key_is_taken_apart() -> None:
    assert AccessKey.parse(MANUAL_KEY) == AccessKey("52", "0604", "33009911002506", "55", 12, 780, "0")


def test_an_access_key_may_have_letters_in_its_cnpj() -> None:
    assert AccessKey.parse(LETTERS_KEY).issuer == "12ABC34501DE35"


def test_the_spaces_of_a_printed_access_key_are_not_stored() -> None:
    printed = " ".join(MANUAL_KEY[place : place + 4] for place in range(0, 44, 4))
    assert access_key(printed) == MANUAL_KEY


def _with_digit(text: str) -> str:
    return text[:43] + check_digit(text[:43])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (MANUAL_KEY[:43] + "6", "wrong check digit"),
        (MANUAL_KEY[:43], "not an access key"),
        (LETTERS_KEY.lower(), "not an access key"),
        (_with_digit("99" + MANUAL_KEY[2:]), "not an access key"),
        (_with_digit(MANUAL_KEY[:4] + "13" + MANUAL_KEY[6:]), "not an access key"),
        (_with_digit(MANUAL_KEY[:20] + "57" + MANUAL_KEY[22:]), "not an access key"),
        (_with_digit(MANUAL_KEY[:25] + "000000000" + MANUAL_KEY[34:]), "not an access key"),
    ],
    ids=["digit", "short", "lower case", "state", "month", "model", "number zero"],
)
def test_a_wrong_access_key_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        access_key(text)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("7891000315507", "7891000315507"),
        ("789-1000-315507", "7891000315507"),
        ("96385074", "96385074"),
        ("036000291452", "036000291452"),
        ("17891000315504", "17891000315504"),
        ("sem gtin", "SEM GTIN"),
    ],
)
def test_a_bar_code_of_each_length_is_stored(text: str, stored: str) -> None:
    assert gtin(text) == stored


@pytest.mark.parametrize("text", ["", "7891000315508", "789100031550", "SEM", "ABCDEFGH"])
def test_what_is_no_bar_code_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a GTIN"):
        gtin(text)


# 4305871 is one of the nine real cities that break the rule of the check digit.
@pytest.mark.parametrize("text", ["3550308", "1100015", "5300108", "4305871", "9999999"])
def test_a_real_city_code_is_accepted(text: str) -> None:
    assert city_code(text) == text


@pytest.mark.parametrize(
    "text", ["3550309", "355030", "35503080", "1900015", "355030A", "4305872", "9999998", "³550308"]
)
def test_what_is_no_city_code_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="IBGE city code"):
        city_code(text)
