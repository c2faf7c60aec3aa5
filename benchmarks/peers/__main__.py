"""`python -m benchmarks.peers SYSTEM CELL --size N --folder DIR`: run one cell of one system in an empty folder.

The last line that it prints is the result, one JSON object. `python -m benchmarks.peers install` installs the packages of the systems with Node.
"""

from __future__ import annotations

import sys

from benchmarks.peers import PYTHON, node


def main() -> None:
    """Run from the command line."""
    name, *arguments = sys.argv[1:]
    if name == "install":
        node.install()
    elif name in PYTHON:
        PYTHON[name].main(arguments)
    else:
        node.main(name, arguments)


if __name__ == "__main__":
    main()
