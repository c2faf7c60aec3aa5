"""The process: where time passes, links are kept and programs read and write."""

from crdtsync.node.config import NodeConfig, load_config
from crdtsync.node.node import Node

__all__ = ["Node", "NodeConfig", "load_config"]
