"""Verbs that keep a node: copies of its store, the way back, a look at its machine, and how the system starts it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from crdtsync.cli.inspect import checked
from crdtsync.cli.output import FINDING, Verb, console, folder_argument, output_options, print_json, progress
from crdtsync.cli.track import ALERTS
from crdtsync.cli.words import _, named, said
from crdtsync.errors import BadRequest, CrdtsyncError
from crdtsync.locale import N_
from crdtsync.node import load_config
from crdtsync.node.backup import back_up, refuse_missing
from crdtsync.node.backup import restore as put_back
from crdtsync.node.doctor import State
from crdtsync.node.doctor import doctor as examined
from crdtsync.said import say, to_form
from crdtsync.storage.lock import StoreLock

_CHECKS = {
    "adapters": N_("Categories"),
    "clock": N_("Clock"),
    "config": N_("Configuration"),
    "node": N_("Node"),
    "folder": N_("Folder"),
    "disk": N_("Disk"),
    "store": N_("Store file"),
    "port": N_("Port for nodes below"),
    "monitor": N_("Port for the page"),
    "upstream": N_("Node above"),
    "backup": N_("Backup"),
}
_STATES = {
    State.OK: (N_("all right"), "green"),
    State.ATTENTION: (N_("look at it"), "yellow"),
    State.FAULT: (N_("wrong"), "red"),
}
_UNIT = """[Unit]
Description=crdtsync node {device}
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart="{python}" -m crdtsync.cli run "{folder}"
User={user}
Restart=always
RestartSec=5
TimeoutStopSec=60
LimitNOFILE=65536
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths="{folder}"

[Install]
WantedBy=multi-user.target
"""


@click.command(cls=Verb)
@folder_argument
@click.argument("target", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--keep", type=click.IntRange(1), help="Remove all but so many of those in DIR/backups.")
@output_options
def backup(folder: Path, target: Path | None, keep: int | None, *, as_json: bool) -> None:
    """Copy a node's store into one file; the node may go on running.

    Without FILE it goes to DIR/backups, named after the node and the time. Keep it on another disk too.

    Example: crdtsync backup gestao --keep 7
    """
    config = load_config(folder)
    with progress(_("Pages"), hidden=as_json) as watch:
        path, removed = back_up(config, target, watch, keep=keep)
    facts = {"backup": str(path), "bytes": path.stat().st_size, "removed": [str(one) for one in removed]}
    if as_json:
        print_json(facts)
    else:
        told = _("wrote {path}, {bytes} bytes; put it back with: crdtsync restore {folder} {path}")
        click.echo(told.format(path=path, bytes=facts["bytes"], folder=folder))


@click.command(cls=Verb)
@folder_argument
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--damaged",
    is_flag=True,
    help="Take a backup with damaged rows: the node sets apart the documents that they are of.",
)
@output_options
def restore(folder: Path, source: Path, *, damaged: bool, as_json: bool) -> None:
    """Put a backup in the place of a stopped node's store.

    Every page and every row of FILE is checked first. The store that was there is moved aside, not removed. What is newer than the backup comes back from the other nodes;
    what this node had not sent yet is only in the store that was moved aside.

    Example: crdtsync restore loja1 loja1/backups/loja1-20261127T030000.000000Z.db
    """
    config = load_config(folder)
    aside = put_back(config, source, damaged=damaged)
    if as_json:
        print_json({"store": str(config.store_path), "aside": str(aside) if aside else None})
        return
    click.echo(_("{store} is the backup now; start the node").format(store=config.store_path))
    if aside:
        click.echo(_("the store that was there is in {aside}").format(aside=aside))


@click.command(cls=Verb)
@folder_argument
@output_options
def upgrade(folder: Path, *, as_json: bool) -> None:
    """Bring a stopped node's store up to date, and check it.

    The backup that it makes first is the way back; `run` does the same without one. When the check finds something the store is put back as it was.

    Example: crdtsync upgrade loja1
    """
    config = load_config(folder)
    refuse_missing(config)
    with StoreLock(str(config.store_path)), progress(_("Pages"), hidden=as_json) as watch:
        made, _removed = back_up(config, None, watch)
    try:
        with progress(_("Documents"), hidden=as_json) as watch:
            report = asyncio.run(checked(folder, watch))
    except CrdtsyncError:
        put_back(config, made, damaged=True)
        raise
    findings = report["findings"]
    # As it was: what the check found may have been there before.
    aside = put_back(config, made, damaged=True) if findings else None
    if as_json:
        print_json({"backup": str(made), "findings": findings, "aside": str(aside) if aside else None})
    elif findings:
        for finding in findings:
            click.echo(f"  {said(finding)}")
        click.echo(_("the store is as it was before; the upgraded one is in {aside}").format(aside=aside))
    else:
        click.echo(_("the store is up to date, and nothing is wrong with it"))
        told = _("the way back: install the version from before, then crdtsync restore {folder} {path}")
        click.echo(told.format(folder=folder, path=made))
    sys.exit(FINDING if findings else 0)


@click.command(cls=Verb)
@folder_argument
@output_options
def doctor(folder: Path, *, as_json: bool) -> None:
    """Look for what is wrong with a node; exit 1 on a finding.

    At its machine, folder, store, ports and the node above. It changes nothing, and works whether or not the node runs.

    Example: crdtsync doctor loja1
    """
    found = asyncio.run(examined(folder))
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "check": one.check,
                "state": one.state.value,
                "detail": str(one.detail),
                "said": to_form(one.detail),
            }
            for one in found
        ]
        print_json({"checks": rows})
    else:
        for one in found:
            text, style = _STATES[one.state]
            line = Text.assemble(
                (f"{_(text):>11}", style), f"  {named(_CHECKS | ALERTS, one.check)}: ", said(one.detail)
            )
            console().print(line)
    sys.exit(FINDING if any(one.state is not State.OK for one in found) else 0)


@click.command(cls=Verb)
@folder_argument
@click.option("--user", help="The user who runs the node; by default whoever owns DIR.")
@output_options
def unit(folder: Path, user: str | None, *, as_json: bool) -> None:
    """Print a systemd unit that starts the node with the machine.

    Example: crdtsync unit loja1 | sudo tee /etc/systemd/system/crdtsync-loja1.service
    """
    config = load_config(folder)
    if os.name != "posix":
        raise BadRequest(
            say(
                "systemd starts programs on Linux; here let the Task Scheduler run: crdtsync run {folder}",
                folder=folder,
            )
        )
    place = folder.resolve()
    text = _UNIT.format(device=config.device, python=sys.executable, folder=place, user=user or place.owner())
    print_json({"unit": text}) if as_json else click.echo(text, nl=False)
