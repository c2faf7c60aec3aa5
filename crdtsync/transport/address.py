"""What an address says before anybody connects to it."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from crdtsync.errors import InsecureTransport


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_encrypted(url: str) -> bool:
    """Tell whether a connection to an address is encrypted: ``wss://`` is, ``ws://`` to this machine need not be.

    Raises:
        InsecureTransport: it is not, and the address is another machine's.
        ValueError: it is no address.
    """
    parts = urlsplit(url)
    # The port is read because that is when one out of range raises.
    encrypted, host, _ = parts.scheme == "wss", parts.hostname or "", parts.port
    if not encrypted and not is_loopback(host):
        raise InsecureTransport(url)
    if not host:
        raise ValueError("it names no host")
    return encrypted
