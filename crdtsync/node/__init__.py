"""The process: where time passes, links are kept and programs read and write."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crdtsync.node.config import NodeConfig, load_config

if TYPE_CHECKING:
    from crdtsync.node.node import Node

__all__ = ["Node", "NodeConfig", "load_config"]


def __getattr__(name: str) -> Any:
    # Half of what a program loads is what a node is made of; one that asks a running node needs none of it (PEP 562).
    if name == "Node":
        return import_module("crdtsync.node.node").Node
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
