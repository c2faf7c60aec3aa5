"""Verbs about who may connect: pairing codes, the registry of devices, approval and revocation."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from crdtsync import limits
from crdtsync.cli.output import (
    Misuse,
    Verb,
    ask,
    console,
    folder_argument,
    output_options,
    print_facts,
    print_json,
)
from crdtsync.cli.words import _, moment, named
from crdtsync.errors import IdentityError
from crdtsync.identity.keys import grouped
from crdtsync.identity.pairing import PairingCode
from crdtsync.locale import N_
from crdtsync.node import load_config
from crdtsync.node.config import OPEN
from crdtsync.node.credentials import Credentials
from crdtsync.said import said_of

if TYPE_CHECKING:
    from pathlib import Path

STATUSES = {
    "invited": N_("unused code"),
    "waiting": N_("waits to be approved"),
    "approved": N_("approved"),
    "seen": N_("came while enrolment was open"),
    "revoked": N_("revoked"),
}


def read_code(text: str) -> PairingCode:
    """Read a pairing code; ``-`` takes it from standard input, where no list of processes shows it."""
    try:
        return PairingCode.from_text(sys.stdin.readline() if text == "-" else text)
    except IdentityError as error:
        raise Misuse(said_of(error)) from error


@click.command(cls=Verb)
@folder_argument
@click.option("--store", help="The store that the new node belongs to; at a store's node it is that one.")
@click.option("--device", help="The new node's name; without it whoever installs it chooses one.")
@click.option(
    "--hours",
    type=float,
    default=limits.PAIRING_HOURS,
    show_default=True,
    help="How long the code can be used.",
)
@output_options
def pair(folder: Path, *, as_json: bool, **asked: Any) -> None:
    """Make a pairing code for one new node below.

    It is used once, with `init --code -` on the new machine, and only this command ever shows it. A Gestão admits Lojas, a
    Loja its Caixas. When the new node has used it, compare fingerprints and say approve.

    Example: crdtsync pair gestao --store loja1
    """
    made = asyncio.run(ask(folder, "pair", **asked))
    if as_json:
        print_json(made)
        return
    click.echo(made["code"])
    ends = moment(made["expires_ms"], load_config(folder).time_zone)
    said = _("It can be used once, until {when}; on the new machine: crdtsync init DIR --code -")
    click.echo(said.format(when=ends), err=True)
    if made["enrolment"] == OPEN:
        click.echo(
            _("This node lets in whoever reaches its port, also without a code (enrolment)."), err=True
        )


@click.command(cls=Verb)
@folder_argument
@output_options
def devices(folder: Path, *, as_json: bool) -> None:
    """List the devices that may connect here, and unused codes.

    Also the fingerprint that this node has at the node above.

    Example: crdtsync devices loja1
    """
    facts = asyncio.run(ask(folder, "devices"))
    if as_json:
        print_json(facts)
        return
    own = {"device": facts["device"], "fingerprint": facts["fingerprint"], "enrolment": facts["enrolment"]}
    print_facts({name: value for name, value in own.items() if value is not None})
    if facts["devices"]:
        console().print(_table(facts["devices"], load_config(folder).time_zone))
    else:
        click.echo(_("No device is registered here."))


def _table(found: list[dict[str, Any]], zone: str) -> Table:
    table = Table(
        _("Device"), _("Role"), _("Store"), _("Status"), _("Since"), _("Fingerprint, or the code's id")
    )
    for row in found:
        cells = (
            row["device"] or "-",
            row["role"],
            row["store"],
            named(STATUSES, row["status"]),
            moment(row["changed_ms"], zone),
            row["fingerprint"] or row["id"],
        )
        table.add_row(*map(Text, cells))
    return table


@click.command(cls=Verb)
@folder_argument
@click.argument("fingerprint")
@output_options
def approve(folder: Path, fingerprint: str, *, as_json: bool) -> None:
    """Let a device in that waits, or was revoked.

    FINGERPRINT is what `devices` shows on the device itself, or the first 8 digits of it: compare them, the name proves
    nothing.

    Example: crdtsync approve loja1 3f2a-91c0
    """
    row = asyncio.run(ask(folder, "approve", fingerprint=fingerprint))
    said = _("{device} may connect from now on, as {role} of {store}.")
    print_json(row) if as_json else click.echo(said.format(**row))


@click.command(cls=Verb)
@folder_argument
@click.argument("device")
@output_options
def revoke(folder: Path, device: str, *, as_json: bool) -> None:
    """Cut a device off, at once and for the time to come.

    DEVICE is its name or fingerprint; the id of an unused code takes that back. What the device wrote stays.

    Example: crdtsync revoke loja1 caixa3
    """
    row = asyncio.run(ask(folder, "revoke", device=device))
    said = _("{device} may no longer connect.")
    if row["fingerprint"] is None:
        said = _("The code can no longer be used.")
    print_json(row) if as_json else click.echo(said.format(**row))


@click.command(cls=Verb)
@folder_argument
@output_options
def recover(folder: Path, *, as_json: bool) -> None:
    """Take back what nodes below hold of this node's own writes.

    After its store was put back from a backup or lost. For a day they are believed; without this word, and with closed
    enrolment, they are turned away: a hostile one could make such writes up.

    Example: crdtsync recover loja1
    """
    answer = asyncio.run(ask(folder, "recover"))
    if as_json:
        print_json(answer)
    else:
        until = moment(answer["until_ms"], load_config(folder).time_zone)
        click.echo(
            _("What nodes below hold of this node's writes is taken back until {until}.").format(until=until)
        )


@click.command(cls=Verb)
@folder_argument
@click.argument("code")
@output_options
def join(folder: Path, code: str, *, as_json: bool) -> None:
    """Give a node that exists a pairing code of the node above.

    For one that was installed before the node above asked for codes. CODE may be -, then it is read from standard input.

    Example: crdtsync join caixa1 -
    """
    credentials = Credentials(folder)
    config = load_config(folder)
    try:
        credentials.keep(read_code(code), config)
    except IdentityError as error:
        raise Misuse(said_of(error)) from error
    print_joined(config.device, credentials, as_json=as_json)
    if not as_json:
        said = _("If its link had failed, say: crdtsync resume {folder}")
        click.echo(said.format(folder=folder))


def print_joined(device: str, credentials: Credentials, *, as_json: bool, **more: str) -> None:
    """Say what is compared at the node above."""
    shown = grouped(credentials.key.fingerprint)
    if as_json:
        print_json({**more, "device": device, "fingerprint": shown})
    else:
        said = _("its fingerprint, to be compared at the node above: {fingerprint}")
        click.echo(said.format(fingerprint=shown))
