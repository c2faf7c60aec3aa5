"""A node's own certificate, signed by itself: whoever is to trust it is told its pin.

Apart from `tls.py` because few nodes make one, and what makes it takes long to import.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from crdtsync.errors import IdentityError
from crdtsync.identity.private import write_private
from crdtsync.said import say

if TYPE_CHECKING:
    from pathlib import Path

_DAY = timedelta(days=1)
# Who trusts it trusts a pin, which has no end; this is only so that no strict reader refuses it.
_VALID = 20 * 365 * _DAY


def make_certificate(path: Path, key_path: Path, name: str, now: datetime) -> None:
    """Write a private key and a certificate for a host name or address. ``now`` has a time zone.

    Raises:
        IdentityError: a file cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([_general(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    try:
        # The key first: a certificate without its key would not be made again.
        write_private(key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        write_private(path, made.public_bytes(Encoding.PEM))
    except OSError as error:
        raise IdentityError(
            say("{path}: {error}; check the folder's permissions", path=path, error=error.strerror or error)
        ) from error


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
