"""TLS between two machines: a port's certificate, and how the other end recognizes it.

A node above is recognized by a pin, the SHA-256 of its certificate, or by an authority that signed it.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crdtsync.errors import IdentityError
from crdtsync.said import say

if TYPE_CHECKING:
    from pathlib import Path

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a port speaks TLS with, and the SHA-256 of its certificate: what the other end sees."""

    context: ssl.SSLContext
    digest: bytes

    @classmethod
    def read(cls, certificate: Path, key: Path | None) -> ServerTls:
        """Read a certificate, with what signed it, and its private key, which may be in the same file.

        Raises:
            IdentityError: a file is missing, unreadable, or not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _refuse_unreadable(certificate, key)
        try:
            context.load_cert_chain(certificate, key)
            text = certificate.read_text(encoding="ascii", errors="replace")
            first = text[text.index(_BEGIN) : text.index(_END) + len(_END)]
            return cls(context, hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest())
        except (OSError, ValueError) as error:
            why = say("it is no certificate in PEM, or the private key is not its own")
            raise _unusable(certificate, why) from error


def client_tls(pin: str | None, ca: Path | None) -> ssl.SSLContext:
    """Return what a node trusts above: the certificate with this pin, else what these or the system's authorities signed.

    Raises:
        IdentityError: the file of the authorities is missing or holds none.
    """
    if pin is not None:
        return _pinned(pin)
    _refuse_unreadable(ca)
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        assert ca is not None
        raise _unusable(ca, say("it holds no certificate in PEM")) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _pinned(pin: str) -> ssl.SSLContext:
    class Pinned(ssl.SSLObject):
        """Ends the handshake, before anything of ours is sent, with any other certificate."""

        def do_handshake(self) -> None:
            super().do_handshake()
            shown = hashlib.sha256(self.getpeercert(binary_form=True) or b"").hexdigest()
            if not hmac.compare_digest(shown, pin):
                # With a number: the text alone would be shown as a tuple.
                told = f"its certificate is {shown}, the pin says {pin}"
                raise ssl.SSLCertVerificationError(ssl.SSL_ERROR_SSL, told)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The pin says more than a name: only this one certificate will do, whoever signed it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = Pinned
    return context


def _refuse_unreadable(*paths: Path | None) -> None:
    """Name the file that cannot be read: of two, the library does not say which."""
    for path in paths:
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            raise _unusable(path, error.strerror or str(error)) from error


def _unusable(path: Path | None, why: str) -> IdentityError:
    return IdentityError(say("{path}: {error}; name a PEM file in node.toml", path=path, error=why))
