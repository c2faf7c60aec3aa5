"""What a node's links run over: websockets, with the certificates that its configuration names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from crdtsync.identity.tls import ServerTls, client_tls
from crdtsync.transport.websocket import WebSocketTransport

if TYPE_CHECKING:
    from ssl import SSLContext

    from crdtsync.node.config import NodeConfig

CERTIFICATE_NAME = "tls.crt"
CERTIFICATE_KEY_NAME = "tls.key"


def transport_of(config: NodeConfig) -> WebSocketTransport:
    """Return the transport of a node.

    Raises:
        IdentityError: a certificate cannot be read or made.
    """
    server = server_tls(config) if config.listens else None
    name = urlsplit(config.address).hostname if config.address else None
    return WebSocketTransport(
        client_tls=_trusted_above(config),
        server_tls=server.context if server is not None else None,
        server_binding=server.digest if server is not None else b"",
        names=[name] if name else [],
    )


def check_certificates(config: NodeConfig) -> None:
    """Read the certificates that the node runs with; one of its own, which it makes when it needs it, if it is there.

    Raises:
        IdentityError: one cannot be read.
    """
    if config.listens and (config.certificate is not None or (config.folder / CERTIFICATE_NAME).exists()):
        server_tls(config)
    _trusted_above(config)


def _trusted_above(config: NodeConfig) -> SSLContext | None:
    encrypted = (config.upstream or "").startswith("wss://")
    return client_tls(config.pin, config.file(config.ca)) if encrypted else None


def server_tls(config: NodeConfig) -> ServerTls | None:
    """Return what the port speaks TLS with: the certificate of node.toml, else the node's own, made at the first need.

    None when the port is of this machine alone and has no certificate.

    Raises:
        IdentityError: a certificate cannot be read or made.
    """
    named = config.file(config.certificate)
    if named is not None:
        return ServerTls.read(named, config.file(config.key))
    if not config.encrypted:
        return None
    path, key_path = config.folder / CERTIFICATE_NAME, config.folder / CERTIFICATE_KEY_NAME
    if not path.exists():
        # It takes longer to import than a port needs that has a certificate.
        from crdtsync.identity.certificate import make_certificate  # noqa: PLC0415

        address = config.reached_at(1)
        name = urlsplit(address).hostname if address else None
        make_certificate(path, key_path, name or config.device, datetime.now(UTC))
    return ServerTls.read(path, key_path)


def pin_of(config: NodeConfig) -> str | None:
    """Return the pin of the node's own certificate, for pairing codes; None when it has none that it signed itself.

    Raises:
        IdentityError: the certificate cannot be read or made.
    """
    own = server_tls(config) if config.certificate is None else None
    return own.digest.hex() if own is not None else None
