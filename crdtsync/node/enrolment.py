"""The verbs of enrolment: pairing codes, the registry of devices, approval and revocation.

Plain arguments in, plain results out, as ``docs/security.md`` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crdtsync import limits
from crdtsync.errors import BadRequest, ConfigError
from crdtsync.identity.keys import grouped
from crdtsync.identity.pairing import PairingCode
from crdtsync.node.admission import ROLE_BELOW, role_below
from crdtsync.node.config import address_missing, is_name
from crdtsync.node.port import pin_of
from crdtsync.said import say
from crdtsync.schema import Role

if TYPE_CHECKING:
    from crdtsync.node.node import Node
    from crdtsync.storage.base import DeviceRow


async def pair(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Make a pairing code: ``store`` at a head office, ``device`` to fix the name, ``hours`` until it ends."""
    config = node.config
    role_below(config.role)
    port = node.server.port if node.server is not None else config.port
    address = config.reached_at(port)
    if address is None:
        raise ConfigError(address_missing(config))
    for key in ("store", "device"):
        value = args.get(key)
        if value is not None and not is_name(value):
            raise BadRequest(
                say(
                    "{value} is not a name; use lower-case letters, digits, '.', '_' and '-'",
                    value=repr(value),
                )
            )
    secret, row = await node.admission.invite(
        store=args.get("store"), device=args.get("device"), hours=args.get("hours", limits.PAIRING_HOURS)
    )
    code = PairingCode(secret, address, config.account, row.role, row.store, row.device, pin_of(config))
    return {"code": code.to_text(), "enrolment": config.admits, **_device(row)}


async def devices(node: Node, _args: dict[str, Any]) -> dict[str, Any]:
    """The registry of this node, and the fingerprint that it has itself at the node above.

    ``enrolment`` is None where nothing connects.
    """
    key = node.credentials.key if node.config.role is not Role.GESTAO else None
    return {
        "device": node.config.device,
        "fingerprint": grouped(key.fingerprint) if key is not None else None,
        "enrolment": node.config.admits if node.config.role in ROLE_BELOW else None,
        "devices": [_device(row) for row in node.admission.devices()],
    }


async def approve(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Let the device with a ``fingerprint`` in."""
    return _device(await node.admission.approve(str(args["fingerprint"])))


async def revoke(node: Node, args: dict[str, Any]) -> dict[str, Any]:
    """Cut a ``device`` off, named or by its fingerprint, or take an unused code back."""
    return _device(await node.admission.revoke(str(args["device"])))


async def recover(node: Node, _args: dict[str, Any]) -> dict[str, Any]:
    """Take back what nodes below hold of this node's own logs, because it lost them."""
    return {"device": node.config.device, "until_ms": await node.admission.recover()}


def _device(row: DeviceRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "device": row.device,
        "role": row.role,
        "store": row.store,
        "status": row.status,
        "fingerprint": grouped(row.id) if row.key is not None else None,
        "expires_ms": row.expires_ms,
        "changed_ms": row.changed_ms,
    }


ENROLMENT = {"pair": pair, "devices": devices, "approve": approve, "revoke": revoke, "recover": recover}
