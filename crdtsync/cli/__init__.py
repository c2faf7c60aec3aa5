"""The command line: one verb a command, every verb with ``--json``, one clear message for every fault.

Exit codes: 0 all is well, 1 a finding, 2 wrong usage, 3 a fault of the environment, the store or a peer.
"""

from __future__ import annotations

import click

from crdtsync.cli.compare import diff, log
from crdtsync.cli.decide import note, pendencies, pendency, person, resolve, seen, undo
from crdtsync.cli.enrol import approve, devices, join, pair, recover, revoke
from crdtsync.cli.inspect import adapters, show, status, verify, version
from crdtsync.cli.keep import backup, doctor, restore, unit, upgrade
from crdtsync.cli.operate import init, monitor, repair, run, set_
from crdtsync.cli.output import Group
from crdtsync.cli.simulate import simulate
from crdtsync.cli.track import alerts, first, history, network, pause, queue, resume, sync
from crdtsync.cli.words import lang_option

# Not a docstring: click's mark for "keep these lines" is the character \b, not the two of a raw string.
_HELP = """Offline-first replication for retail: Gestão, Loja and Caixa.

Make a node with `init`, run it with `run`, look at it with `status` and `show`; `demo` shows the whole.

\b
  crdtsync init gestao --role gestao --port 7400
  crdtsync set gestao products/7891 name=Café price=12.90
  crdtsync show gestao products
  crdtsync run gestao
  crdtsync queue gestao
  crdtsync pendencies gestao

Exit codes: 0 all is well, 1 a finding, 2 wrong usage, 3 a fault of the environment, the store or a peer.
"""


@click.group(cls=Group, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@lang_option
def main() -> None:
    """See ``_HELP``."""


COMMANDS = (
    *(init, run, monitor, set_, show, status, verify, repair, adapters, simulate, version),
    *(sync, queue, history, network, alerts, pause, resume, first),
    *(pendencies, pendency, resolve, undo, seen, note, person),
    *(log, diff),
    *(pair, join, devices, approve, revoke, recover),
    *(doctor, backup, restore, upgrade, unit),
)
for command in COMMANDS:
    main.add_command(command)
