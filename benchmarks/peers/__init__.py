"""The systems that users would compare crdtsync with, each used as its own documentation recommends.

`SYSTEMS` names them. The cells, and what is timed in each, are described in `stage.py`.
"""

from __future__ import annotations

from benchmarks.peers import idiomatic, loro_network, node, websocket

PYTHON = {system.name: system for system in (idiomatic.SYSTEM, websocket.SYSTEM, loro_network.SYSTEM)}
SYSTEMS = (*(system.system() for system in PYTHON.values()), *node.SYSTEMS)
