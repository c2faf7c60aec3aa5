"""The command line: one verb a command, every verb with ``--json``, one clear message for every fault.

Exit codes: 0 all is well, 1 a finding, 2 wrong usage, 3 a fault of the environment, the store or a peer.
"""

from __future__ import annotations

import click

from crdtsync.cli.output import Group
from crdtsync.cli.words import lang_option

_VERBS = {
    "init": "start:init",
    "run": "start:run",
    "monitor": "operate:monitor",
    "set": "operate:set_",
    "show": "inspect:show",
    "status": "inspect:status",
    "verify": "inspect:verify",
    "repair": "operate:repair",
    "adapters": "inspect:adapters",
    "simulate": "simulate:simulate",
    "version": "inspect:version",
    "sync": "track:sync",
    "queue": "track:queue",
    "history": "track:history",
    "network": "track:network",
    "alerts": "track:alerts",
    "pause": "track:pause",
    "resume": "track:resume",
    "first": "track:first",
    "pendencies": "decide:pendencies",
    "pendency": "decide:pendency",
    "resolve": "decide:resolve",
    "undo": "decide:undo",
    "seen": "decide:seen",
    "note": "decide:note",
    "person": "decide:person",
    "log": "compare:log",
    "diff": "compare:diff",
    "pair": "enrol:pair",
    "join": "enrol:join",
    "devices": "enrol:devices",
    "approve": "enrol:approve",
    "revoke": "enrol:revoke",
    "recover": "enrol:recover",
    "doctor": "keep:doctor",
    "backup": "keep:backup",
    "restore": "keep:restore",
    "upgrade": "keep:upgrade",
    "unit": "keep:unit",
}
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


@click.group(cls=Group, verbs=_VERBS, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@lang_option
def main() -> None:
    """See ``_HELP``."""
