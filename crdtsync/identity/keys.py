"""A device's own Ed25519 key: made on the device, kept readable by its user only, never sent."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from crdtsync.errors import IdentityError
from crdtsync.identity.private import others_can_read, write_private
from crdtsync.said import say

if TYPE_CHECKING:
    from pathlib import Path

KEY_NAME = "device.key"
_GROUP_CHARS = 4


class DeviceKey:
    """A private key. Its text never shows it."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()
        """The public part, 32 bytes."""

    @classmethod
    def generate(cls) -> DeviceKey:
        """Make a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def kept(cls, path: Path) -> DeviceKey:
        """Return the key of a file, which is made when there is none.

        Raises:
            IdentityError: the file cannot be read or written, holds no such key, or can be read by others.
        """
        try:
            if not path.exists():
                key = cls.generate()
                write_private(path, key.to_pem())
                return key
            if others_can_read(path):
                raise IdentityError(
                    say(
                        "{path}: other users can read this key; revoke the device at the node above, remove "
                        "the file and pair it again",
                        path=path,
                    )
                )
            private = load_pem_private_key(path.read_bytes(), None)
        except OSError as error:
            raise IdentityError(
                say(
                    "{path}: {error}; run this as the user who runs the node",
                    path=path,
                    error=error.strerror or error,
                )
            ) from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _no_key(path) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise _no_key(path)
        return cls(private)

    @property
    def fingerprint(self) -> str:
        """What the public part is recognized by: see `fingerprint_of`."""
        return fingerprint_of(self.public)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        return self._private.sign(message)

    def to_pem(self) -> bytes:
        """Return the private key as its file holds it."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _no_key(path: Path) -> IdentityError:
    return IdentityError(
        say(
            "{path}: this is no device key; put the right file back, or remove it and pair the device again",
            path=path,
        )
    )


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether a signature of a message was made with the private part of a key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint_of(public: bytes) -> str:
    """Return the SHA-256 of a public key, 64 hexadecimal digits."""
    return hashlib.sha256(public).hexdigest()


def grouped(fingerprint: str) -> str:
    """Return a fingerprint as two people compare it: in groups of four."""
    return "-".join(fingerprint[at : at + _GROUP_CHARS] for at in range(0, len(fingerprint), _GROUP_CHARS))
