"""The command line: one verb a command, every verb with ``--json``, one clear message for every fault.

Exit codes: 0 all is well, 1 a finding, 2 wrong usage, 3 a fault of the environment, the store or a peer.
"""

from __future__ import annotations

from importlib.metadata import entry_points

import click

from crdtsync.cli.inspect import adapters, show, status, verify, version
from crdtsync.cli.operate import init, run, set_
from crdtsync.cli.output import Group
from crdtsync.cli.simulate import simulate


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Offline-first replication for retail: Gestão, Loja and Caixa.

    Make a node with `init`, run it with `run`, look at it with `status` and `show`; `demo` shows the whole.
    """


for command in (init, run, set_, show, status, verify, adapters, simulate, version):
    main.add_command(command)
for point in sorted(entry_points(group="crdtsync.commands"), key=lambda entry: entry.name):
    main.add_command(point.load(), point.name)
