"""What a device signs to say who it is: the names of its greeting, for one challenge on one channel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crdtsync.protocol.frames import Payload

_CONTEXT = "crdtsync hello"
_SIGNED = ("protocol", "device", "role", "account", "store", "replica")


def signed_greeting(hello: Payload, nonce: bytes, binding: bytes) -> bytes:
    """Return the bytes that are signed.

    Args:
        hello: the payload, with its key.
        nonce: of the challenge that it answers: the same signature is of no use for another.
        binding: what both ends know of the channel (`Channel.binding`): nor on another channel.
    """
    facts = [_CONTEXT, nonce.hex(), binding.hex(), hello["key"].hex(), *(hello[name] for name in _SIGNED)]
    return json.dumps(facts, separators=(",", ":")).encode()
