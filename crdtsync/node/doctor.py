"""What an operator should know of a node's machine, folder and store before they call somebody, one check after the other.

It changes nothing and works whether the node runs or not.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from crdtsync import limits
from crdtsync.errors import ConfigError, CrdtsyncError, IdentityError, StoreLocked, StoreUnavailable
from crdtsync.identity.private import others_can_read
from crdtsync.node.alerts import AlertCode, Known, disk_state
from crdtsync.node.alerts import alerts as derive
from crdtsync.node.backup import backups, refuse_foreign
from crdtsync.node.caller import CONTROL_NAME, call, silent
from crdtsync.node.config import CONFIG_NAME, NodeConfig, address_missing, check_links, load_config
from crdtsync.node.port import check_certificates
from crdtsync.node.quarantine import META_KEY, load_held
from crdtsync.node.remembered import REMEMBERED_KEY, Remembered
from crdtsync.node.tracking import of_memory
from crdtsync.ownership import of_another
from crdtsync.said import from_form, said_of, say
from crdtsync.schema import Role, load_installed
from crdtsync.storage.copy import stored_meta
from crdtsync.storage.lock import StoreLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DEFAULT_PORTS = {"ws": 80, "wss": 443}
# Every program that uses certificates or times of day needs a clock that knows this much.
_YEAR_MIN, _YEAR_MAX = 2025, 2100


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    ATTENTION = "attention"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: a word for programs, how it came out, and what to do about it, for people."""

    check: str
    state: State
    detail: str


async def doctor(folder: Path) -> list[Finding]:
    """Check a node's machine, configuration, folder, store, ports and the node above.

    Raises:
        ConfigError: there is no node in the folder.
    """
    found = [*_program()]
    try:
        config = load_config(folder)
    except ConfigError as error:
        if not (folder / CONFIG_NAME).exists():
            raise
        return [*found, Finding("config", State.FAULT, said_of(error))]
    found += _config(config)
    found += _folder(config)
    stored = await asyncio.to_thread(lambda: list(_store(config)))
    found += stored
    try:
        answers = await _asked(config)
    except StoreLocked as error:
        found.append(Finding("node", State.ATTENTION, said_of(error)))
    except CrdtsyncError as error:
        found.append(Finding("node", State.FAULT, said_of(error)))
    else:
        if answers is None:
            found.append(Finding("node", State.ATTENTION, say("the node does not run; start it")))
            found += _ports(config)
            if stored[0].state is State.OK:
                found += await asyncio.to_thread(lambda: list(_remembered(config)))
        else:
            found.append(Finding("node", State.OK, say("the node runs")))
            found += _alerts(answers["alerts"])
    if config.upstream is not None and (above := await _upstream(config.upstream)) is not None:
        found.append(above)
    found += _backups(config)
    return found


def _program() -> Iterator[Finding]:
    try:
        schema = load_installed()
    except CrdtsyncError as error:
        yield Finding("adapters", State.FAULT, said_of(error))
    else:
        yield Finding("adapters", State.OK, say("{n} categories", n=len(schema.shapes)))
    now = datetime.now(UTC)
    if _YEAR_MIN <= now.year <= _YEAR_MAX:
        yield Finding("clock", State.OK, say("{now} UTC", now=now.isoformat(" ", "seconds")[:-6]))
    else:
        yield Finding(
            "clock", State.FAULT, say("this machine's clock says {year}; set it right", year=now.year)
        )


async def _asked(config: NodeConfig) -> Any:
    """Return the alerts of the running node, None when it does not run.

    Raises:
        NodeSilent: it runs, but does not answer.
        StoreLocked: something else has the store open.
        ControlError: it answered with an error.
    """
    answers = await call(config.folder, "alerts")
    lock = StoreLock(str(config.store_path))
    # Taking a lock would make its file, and who examines a folder need not be the user whose it is.
    if answers is not None or not lock.exists:
        return answers
    try:
        with lock:
            return None
    except StoreLocked:
        if (hung := await silent(config.folder)) is not None:
            raise hung from None
        raise
    except StoreUnavailable:
        # What this user may not open is told by the look at the folder.
        return None


def _config(config: NodeConfig) -> list[Finding]:
    """What a configuration that can be read says, though the node could not run with it, or not link."""
    found = []
    for check in (check_links, check_certificates):
        try:
            check(config)
        except (ConfigError, IdentityError) as error:
            found.append(Finding("config", State.FAULT, said_of(error)))
    if config.role is Role.CAIXA and config.upstream is None:
        told = say(
            "{path}: upstream is missing: where is the loja of this caixa? Ask there for a pairing code, or "
            'write upstream = "wss://HOST:PORT"',
            path=config.path,
        )
        found.append(Finding("config", State.FAULT, told))
    # Any free port is known when it listens.
    if config.role is not Role.CAIXA and config.listens and config.reached_at(config.port or 1) is None:
        found.append(Finding("config", State.ATTENTION, address_missing(config)))
    return found or [Finding("config", State.OK, say("{path}: nothing wrong", path=config.path))]


def _folder(config: NodeConfig) -> Iterator[Finding]:
    folder = config.folder
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        told = say(
            "{path}: this user may not write here; run this as the user who runs the node", path=folder
        )
        yield Finding("folder", State.FAULT, told)
    else:
        open_to_others = sorted(
            path.name
            for path in folder.iterdir()
            if path.is_file() and _is_secret(path) and others_can_read(path)
        )
        if open_to_others:
            told = say("{files}: other users can read these files; chmod 600", files=open_to_others)
            yield Finding("folder", State.FAULT, told)
        elif strange := [str(path.relative_to(folder)) for path in of_another(folder)]:
            told = say(
                "{files}: these files do not belong to the owner of the folder, as whom the node runs; "
                "chown -R {owner}: {path}",
                files=strange,
                owner=_owner(folder),
                path=folder.absolute(),
            )
            yield Finding("folder", State.FAULT, told)
        else:
            yield Finding("folder", State.OK, str(folder.absolute()))
    disk = shutil.disk_usage(folder)
    free, low = disk_state(disk.free, disk.total)
    yield Finding("disk", State.FAULT if low else State.OK, free)


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        # A user without a name.
        return str(path.stat().st_uid)


def _is_secret(path: Path) -> bool:
    return path.suffix in {".token", ".key", ".code"} or path.name == CONTROL_NAME


def _store(config: NodeConfig) -> Iterator[Finding]:
    path = config.store_path
    if not path.exists():
        yield Finding(
            "store", State.ATTENTION, say("{path}: not there yet; the first start makes it", path=path)
        )
        return
    try:
        refuse_foreign(config, path)
    except CrdtsyncError as error:
        yield Finding("store", State.FAULT, said_of(error))
        return
    size = f"{path.stat().st_size / 1_000_000:.1f}"
    yield Finding("store", State.OK, say("{size} MB, every page is sound", size=size))


def _ports(config: NodeConfig) -> Iterator[Finding]:
    for check, host, port in (("port", config.host, config.port), ("monitor", "127.0.0.1", config.monitor)):
        if not port:
            continue
        try:
            socket.create_server((host, port)).close()
        except OSError as error:
            told = say(
                "{host}:{port}: {reason}; end the other program, or choose another port",
                host=host,
                port=port,
                reason=error.strerror or error,
            )
            yield Finding(check, State.FAULT, told)
        else:
            yield Finding(check, State.OK, say("{host}:{port} is free", host=host, port=port))


def _alerts(rows: list[dict[str, Any]]) -> Iterator[Finding]:
    for row in rows:
        detail = from_form(row["detail"], row.get("said"))
        yield _of_alert(row["code"], row["severity"], row["subject"], detail)


def _remembered(config: NodeConfig) -> Iterator[Finding]:
    """What the store of a node that does not run says. It is only read: to open it would be to start the node."""
    link, apart = (stored_meta(config.store_path, key) for key in (REMEMBERED_KEY, META_KEY))
    known = Known(
        folder=str(config.folder),
        upstream=config.upstream,
        stopped=True,
        quarantined=load_held(apart),
        **of_memory(Remembered.load(link)),
    )
    found = derive(
        known,
        round(datetime.now(UTC).timestamp() * 1000),
        silent_minutes=config.alert_silent_minutes,
        old_hours=config.alert_old_hours,
    )
    for alert in found:
        # That it does not run is a check of its own.
        if alert.code is not AlertCode.STOPPED:
            yield _of_alert(alert.code.value, alert.severity, alert.subject, alert.detail)


def _of_alert(code: str, severity: str, subject: str, detail: str) -> Finding:
    told = say("{subject}: {detail}", subject=subject, detail=detail)
    return Finding(code, State.FAULT if severity == "B" else State.ATTENTION, told)


async def _upstream(address: str) -> Finding | None:
    """None when it is no address, which is a finding of the configuration."""
    try:
        parts = urlsplit(address)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    try:
        async with asyncio.timeout(limits.DOCTOR_SECONDS_MAX):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except OSError as error:
        # A timeout is an OSError too, and says nothing.
        reason = error.strerror or say("no answer")
        told = say(
            "{address}: {reason}; is that machine on, does its node run, is the address right?",
            address=address,
            reason=reason,
        )
        return Finding("upstream", State.ATTENTION, told)
    writer.close()
    return Finding("upstream", State.OK, say("{address} answers", address=address))


def _backups(config: NodeConfig) -> Iterator[Finding]:
    """A Gestão's store is the only one with everything; the others can get theirs again from above."""
    if config.role is not Role.GESTAO:
        return
    made = backups(config)
    if not made:
        yield Finding("backup", State.ATTENTION, say("there is none; make one every day: crdtsync backup"))
        return
    days = (datetime.now(UTC) - datetime.fromtimestamp(made[-1].stat().st_mtime, UTC)).days
    told = say("the newest is {days} days old: {path}", days=days, path=made[-1])
    yield Finding("backup", State.ATTENTION if days >= limits.BACKUP_DAYS_MAX else State.OK, told)
