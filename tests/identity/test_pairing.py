"""The pairing code as text: whole or refused, and nowhere shown."""

from __future__ import annotations

import pytest

from crdtsync.errors import IdentityError
from crdtsync.identity.pairing import PairingCode, code_id

CODE = PairingCode("0123456789abcdef" * 2, "wss://gestao.example:7400", "main", "loja", "loja1", pin="a" * 64)


@pytest.mark.parametrize("length", range(1, 9))
def test_a_code_is_read_as_it_was_written(length: int) -> None:
    code = PairingCode(CODE.secret, CODE.upstream, "main", "caixa", "l" * length, "caixa1")
    assert PairingCode.from_text(f"  {code.to_text()}\n") == code
    assert "=" not in code.to_text()


def test_a_code_that_is_not_whole_is_refused_and_not_repeated() -> None:
    text = CODE.to_text()
    wrong = [text[:at] for at in range(len(text))]
    wrong += [text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :] for at in range(len(text))]
    for one in [*wrong, text * 20, "é" + text]:
        with pytest.raises(IdentityError) as caught:
            PairingCode.from_text(one)
        assert "copy it again, or ask for a new one" in str(caught.value)
        assert CODE.secret not in str(caught.value)


def test_the_secret_is_not_in_what_a_log_would_show_and_not_its_own_name() -> None:
    assert CODE.secret not in repr(CODE)
    assert CODE.id == code_id(CODE.secret) != CODE.secret
