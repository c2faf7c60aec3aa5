"""``node.toml``: what an operator says about one node, checked before anything starts.

An unknown key, a wrong type or a missing value is refused with the file, the key and what to write instead.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path  # noqa: TC003 - the types of NodeConfig are read at run time
from typing import Any, get_args, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crdtsync import limits
from crdtsync.errors import ConfigError
from crdtsync.node.schedule import Hours
from crdtsync.said import say
from crdtsync.schema import Identity, Role
from crdtsync.schema.entity import hint

CONFIG_NAME = "node.toml"
STORE_NAME = "store.db"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node.

    Attributes:
        folder: where the node lives; the store is ``store.db`` inside.
        device: name, unique in the account.
        role: gestao, loja or caixa.
        account: the account that all its nodes share.
        store: the store's name; required for loja and caixa.
        upstream: address of the node above (``ws://`` on this machine, ``wss://`` between machines).
        host, port: where nodes below connect; port 0 does not listen, unless ``listen`` is set.
        listen: accept nodes below even with port 0 (any free port).
        monitor: port on this machine where the page and the local API are served; 0 serves none.
        live: synchronize at every change instead of at every check.
        check_seconds: time between two routine checks.
        time_zone: name of the time zone whose days and hours count.
        hours: part of the day in which runs may start, such as ``22:00-06:00``.
        limit_kb_s: kB (1,000 bytes) a second that the link up may carry in each direction.
        limit_live: ``hours`` and ``limit_kb_s`` hold for a live link too.
        history_days, history_failed_days: how long runs are kept, and those that were not whole.
        alert_silent_minutes: how long another node may be silent before it is an alert.
        alert_old_hours: how old the oldest record to send may be before it is an alert.
    """

    folder: Path
    device: str
    role: Role
    account: str = "main"
    store: str | None = None
    upstream: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    listen: bool = False
    monitor: int = 0
    live: bool = False
    check_seconds: float = limits.CHECK_SECONDS
    time_zone: str = "America/Sao_Paulo"
    hours: str | None = None
    limit_kb_s: int | None = None
    limit_live: bool = False
    history_days: int = limits.HISTORY_DAYS
    history_failed_days: int = limits.HISTORY_FAILED_DAYS
    alert_silent_minutes: float = limits.ALERT_SILENT_MINUTES
    alert_old_hours: float = limits.ALERT_OLD_HOURS

    def __post_init__(self) -> None:
        for key in ("device", "account", "store"):
            value = getattr(self, key)
            if value is not None and not _NAME.fullmatch(value):
                raise ConfigError(
                    say(
                        "{path}: {key} = {value} is not a name; use lower-case letters, digits, '.', '_' "
                        "and '-'",
                        path=self.path,
                        key=key,
                        value=repr(value),
                    )
                )
        if self.role is not Role.GESTAO and self.store is None:
            raise ConfigError(
                say(
                    "{path}: store is missing; a {role} belongs to a store: name it (`--store loja1`, in "
                    'the file store = "loja1")',
                    path=self.path,
                    role=self.role,
                )
            )
        if self.role is Role.GESTAO and self.upstream is not None:
            raise ConfigError(
                say("{path}: upstream is set, but nothing is above a gestao; remove it", path=self.path)
            )
        for key in ("port", "monitor"):
            if not 0 <= getattr(self, key) <= 65535:
                raise ConfigError(
                    say(
                        "{path}: {key} = {port} is not between 0 and 65535",
                        path=self.path,
                        key=key,
                        port=getattr(self, key),
                    )
                )
        if self.monitor and self.monitor == self.port:
            raise ConfigError(
                say(
                    "{path}: monitor = {port} is the port where nodes below connect; choose another",
                    path=self.path,
                    port=self.monitor,
                )
            )
        for key in ("check_seconds", "history_days", "alert_silent_minutes", "alert_old_hours"):
            if getattr(self, key) <= 0:
                raise ConfigError(
                    say(
                        "{path}: {key} = {value} is not greater than 0",
                        path=self.path,
                        key=key,
                        value=getattr(self, key),
                    )
                )
        self._check_schedule()

    def _check_schedule(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise ConfigError(
                say(
                    "{path}: time_zone = {time_zone} is not known; write a name such as America/Sao_Paulo",
                    path=self.path,
                    time_zone=repr(self.time_zone),
                )
            ) from None
        if self.hours is not None:
            try:
                Hours.parse(self.hours)
            except ValueError as error:
                raise ConfigError(say("{path}: hours = {error}", path=self.path, error=error)) from None
        if self.limit_kb_s is not None and self.limit_kb_s * 1000 < limits.RATE_BYTES_MIN:
            raise ConfigError(
                say(
                    "{path}: limit_kb_s = {limit_kb_s} is less than {least}; remove it or write a "
                    "greater one",
                    path=self.path,
                    limit_kb_s=self.limit_kb_s,
                    least=limits.RATE_BYTES_MIN // 1000,
                )
            )
        if self.history_failed_days < self.history_days:
            raise ConfigError(
                say(
                    "{path}: history_failed_days = {history_failed_days} is less than history_days = "
                    "{history_days}; runs that failed are kept longer",
                    path=self.path,
                    history_failed_days=self.history_failed_days,
                    history_days=self.history_days,
                )
            )

    @property
    def path(self) -> Path:
        """The configuration file."""
        return self.folder / CONFIG_NAME

    @property
    def store_path(self) -> Path:
        """The store file."""
        return self.folder / STORE_NAME

    @property
    def identity(self) -> Identity:
        """Who the node is."""
        return Identity(self.device, self.role, self.account, self.store)


def load_config(folder: Path) -> NodeConfig:
    """Read ``node.toml`` in a folder.

    Raises:
        ConfigError: the file is missing or says something that cannot be; the message names the key.
    """
    path = folder / CONFIG_NAME
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            say(
                "{path}: there is no such file; make the node with `crdtsync init {folder}`",
                path=path,
                folder=folder,
            )
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(say("{path}: {error}; mend the file", path=path, error=error)) from error
    except OSError as error:
        raise ConfigError(
            say("{path}: {reason}; check the folder's permissions", path=path, reason=error.strerror)
        ) from error
    known = {field.name for field in fields(NodeConfig)} - {"folder"}
    hints = get_type_hints(NodeConfig)
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(
                say(
                    "{path}: unknown key {key}{hint}; remove or correct it",
                    path=path,
                    key=repr(key),
                    hint=hint(key, known),
                )
            )
        _check_type(path, key, value, hints[key])
    for key in ("device", "role"):
        if key not in raw:
            raise ConfigError(
                say("{path}: {key} is missing; write it, as `crdtsync init` does", path=path, key=key)
            )
    raw["role"] = Role(raw["role"])
    return NodeConfig(folder=folder, **raw)


def _check_type(path: Path, key: str, value: Any, expected: Any) -> None:
    if key == "role":
        if value not in set(Role):
            raise ConfigError(
                say(
                    "{path}: role = {value}; write one of {roles}",
                    path=path,
                    value=repr(value),
                    roles=list(Role),
                )
            )
        return
    allowed = tuple(t for t in (get_args(expected) or (expected,)) if t is not type(None))
    if float in allowed:
        allowed += (int,)
    if type(value) not in allowed:
        names: str = allowed[0].__name__
        for one in allowed[1:]:
            names = say("{names} or {one}", names=names, one=one.__name__)
        raise ConfigError(
            say("{path}: {key} = {value} is not {names}", path=path, key=key, value=repr(value), names=names)
        )


def write_config(config: NodeConfig) -> None:
    """Write ``node.toml``. Raises ConfigError when it exists or the folder cannot be written."""
    lines = []
    for field in fields(NodeConfig):
        value = getattr(config, field.name)
        if field.name == "folder" or value is None or value == field.default:
            continue
        text = {True: "true", False: "false"}[value] if isinstance(value, bool) else None
        lines.append(
            f"{field.name} = {text or (repr(value) if isinstance(value, int | float) else _quote(value))}"
        )
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
        with config.path.open("x", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except FileExistsError:
        raise ConfigError(
            say("{path}: the file exists; this folder already is a node", path=config.path)
        ) from None
    except OSError as error:
        raise ConfigError(
            say("{path}: {reason}; choose another folder", path=config.path, reason=error.strerror)
        ) from error


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
