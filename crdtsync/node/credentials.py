"""What a node proves itself with to the node above: its key, and once a pairing code."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from crdtsync.errors import IdentityError
from crdtsync.identity.keys import KEY_NAME, DeviceKey
from crdtsync.identity.pairing import CODE_NAME, PairingCode
from crdtsync.identity.private import write_private
from crdtsync.protocol.greeting import signed_greeting
from crdtsync.said import say

if TYPE_CHECKING:
    from pathlib import Path

    from crdtsync.node.config import NodeConfig

log = logging.getLogger("crdtsync")


class Credentials:
    """A device's key, made at the first need, and the file where a pairing code waits to be used."""

    def __init__(self, folder: Path | None) -> None:
        """``folder`` is the node's; without one the key is new in every process, and there is no code."""
        self._code_path = folder / CODE_NAME if folder is not None else None
        self._key_path = folder / KEY_NAME if folder is not None else None
        self._key: DeviceKey | None = None

    @property
    def key(self) -> DeviceKey:
        """The device's key.

        Raises:
            IdentityError: its file cannot be used.
        """
        if self._key is None:
            self._key = DeviceKey.kept(self._key_path) if self._key_path is not None else DeviceKey.generate()
        return self._key

    def prove(self, hello: dict[str, Any], nonce: bytes, binding: bytes) -> dict[str, Any]:
        """Return what a greeting carries besides the names: key, signature, code."""
        named = {**hello, "key": self.key.public}
        code = self.code()
        return {
            "key": self.key.public,
            "signature": self.key.sign(signed_greeting(named, nonce, binding)),
            "code": code.secret if code is not None else None,
        }

    def code(self) -> PairingCode | None:
        """Return the code that waits to be used."""
        try:
            return PairingCode.from_text(self._code_path.read_text("utf-8")) if self._code_path else None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, IdentityError) as error:
            log.warning("%s: %s; the node goes on without a pairing code", self._code_path, error)
            return None

    def keep(self, code: PairingCode, config: NodeConfig) -> None:
        """Keep a code for the next greeting.

        Raises:
            IdentityError: it is for another device than the configuration says, or it cannot be kept.
        """
        check_code(code, config)
        assert self._code_path is not None
        try:
            write_private(self._code_path, code.to_text() + "\n")
        except OSError as error:
            raise IdentityError(
                say(
                    "{path}: {error}; check the folder's permissions",
                    path=self._code_path,
                    error=error.strerror or error,
                )
            ) from error

    def admitted(self) -> None:
        """The node above knows the key: the code, which nobody can use again, goes."""
        if self._code_path is not None:
            self._code_path.unlink(missing_ok=True)


def check_code(code: PairingCode, config: NodeConfig) -> None:
    """Refuse a pairing code of another device, or another node above, than the configuration says.

    Raises:
        IdentityError: it names the first difference.
    """
    for name, told in (
        ("account", code.account),
        ("role", code.role),
        ("store", code.store),
        ("device", code.device or config.device),
        ("upstream", code.upstream),
        ("pin", code.pin or config.pin),
    ):
        own = getattr(config, name)
        if own != told:
            raise IdentityError(
                say(
                    "{path}: {key} = {own}, the pairing code is for {told}; correct the file, or ask for "
                    "another code",
                    path=config.path,
                    key=name,
                    own=repr(own and str(own)),
                    told=repr(told and str(told)),
                )
            )
