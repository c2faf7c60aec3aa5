"""The page and the local API of a running node, for programs and browsers on the same machine."""

from crdtsync.monitor.serve import address_of, serve, service

__all__ = ["address_of", "serve", "service"]
