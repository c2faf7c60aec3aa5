"""The pairing code: one line of text with all that a new device needs to reach the node above and be admitted once."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from crdtsync.errors import IdentityError
from crdtsync.said import say

CODE_NAME = "pairing.code"
SECRET_BYTES = 16
_PREFIX = "crdtsync1."
_CHECK_BYTES = 4
_CODE_CHARS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class PairingCode:
    """What a code says.

    Attributes:
        secret: what admits once, 32 hexadecimal digits; the node above keeps only its hash.
        upstream: address of the node above.
        account: the account of both.
        role: what the device becomes.
        store: the store that it belongs to.
        device: its name; None leaves the choice to the device.
        pin: SHA-256 of the certificate of the node above, 64 hexadecimal digits; None without one of its own.
    """

    secret: str = field(repr=False)
    upstream: str
    account: str
    role: str
    store: str
    device: str | None = None
    pin: str | None = None

    @property
    def id(self) -> str:
        """What the registry knows of the secret."""
        return code_id(self.secret)

    def to_text(self) -> str:
        """Return the line of text."""
        body = json.dumps(asdict(self), separators=(",", ":")).encode()
        return _PREFIX + base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> PairingCode:
        """Read the line of text.

        Raises:
            IdentityError: it is no pairing code, or not all of one; the message does not repeat it.
        """
        try:
            return cls(**_facts(text.strip()))
        except (ValueError, TypeError) as error:
            raise IdentityError(
                say("this is no pairing code, or not the whole of one; copy it again, or ask for a new one")
            ) from error


def _facts(text: str) -> dict[str, Any]:
    if not text.startswith(_PREFIX) or len(text) > _CODE_CHARS_MAX:
        raise ValueError(_PREFIX)
    told = text[len(_PREFIX) :]
    raw = base64.b64decode(told + "=" * (-len(told) % 4), altchars=b"-_", validate=True)
    body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    facts = json.loads(body) if check == _check(body) else None
    if type(facts) is not dict or not all(value is None or type(value) is str for value in facts.values()):
        raise ValueError("damaged")
    return facts


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK_BYTES]


def code_id(secret: str) -> str:
    """Return the SHA-256 of a secret: it has 128 random bits, so nobody finds it from the hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
