"""``node.toml``: what an operator says about one node, checked before anything starts.

An unknown key, a wrong type or a missing value is refused with the file, the key and what to write instead.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path  # noqa: TC003 - the types of NodeConfig are read at run time
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crdtsync import limits
from crdtsync.errors import ConfigError, InsecureTransport
from crdtsync.node.schedule import Hours
from crdtsync.ownership import hand_over
from crdtsync.said import say
from crdtsync.schema import Identity, Role
from crdtsync.schema.entity import hint
from crdtsync.transport.address import is_encrypted, is_loopback

CONFIG_NAME = "node.toml"
STORE_NAME = "store.db"
OPEN, CLOSED = "open", "closed"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_PIN = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(r"\(at line (\d+),")


def is_name(value: object) -> bool:
    """Tell whether a value may name a device, an account or a store."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


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
        enrolment: ``closed``: nodes below are paired and approved before they may connect; ``open``: whoever reaches the
            port may, for a port of this machine alone. By default open there and closed elsewhere.
        address: address under which nodes below reach this one, such as ``wss://gestao.example:7400``, for pairing codes;
            by default that of host and port.
        certificate, key: PEM files of the port's certificate and its private key; without them a port that other machines
            reach gets a certificate that the node signs itself.
        pin: SHA-256 of the certificate of the node above, which then is the only one trusted.
        ca: PEM file of the authorities trusted above, in place of the system's.
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
    enrolment: str | None = None
    address: str | None = None
    certificate: str | None = None
    key: str | None = None
    pin: str | None = None
    ca: str | None = None
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
            if value is not None and not is_name(value):
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
        self._check_security()
        self._check_schedule()

    def _check_security(self) -> None:
        if self.enrolment not in {None, OPEN, CLOSED}:
            raise ConfigError(
                say(
                    "{path}: enrolment = {enrolment}; write {closed} or {open}",
                    path=self.path,
                    enrolment=repr(self.enrolment),
                    closed=CLOSED,
                    open=OPEN,
                )
            )
        if self.enrolment == OPEN and not is_loopback(self.host):
            raise ConfigError(
                say(
                    "{path}: enrolment = open is for a port of this machine alone, and host = {host} lets others "
                    "in; remove one of the two",
                    path=self.path,
                    host=repr(self.host),
                )
            )
        if self.key is not None and self.certificate is None:
            raise ConfigError(
                say("{path}: key is set without certificate; name the file of that too", path=self.path)
            )
        if self.pin is not None and not _PIN.fullmatch(self.pin):
            raise ConfigError(
                say(
                    "{path}: pin = {pin} is not the SHA-256 of a certificate, 64 digits of 0-9 and a-f",
                    path=self.path,
                    pin=repr(self.pin),
                )
            )
        if self.pin is not None and self.ca is not None:
            raise ConfigError(
                say("{path}: pin and ca are set; remove one, a pin trusts one certificate", path=self.path)
            )
        encrypted = (self.upstream or "").startswith("wss://")
        for key in ("pin", "ca"):
            if getattr(self, key) is not None and self.upstream is not None and not encrypted:
                raise ConfigError(
                    say(
                        "{path}: {key} is set, but upstream = {upstream} is not wss://; correct one",
                        path=self.path,
                        key=key,
                        upstream=repr(self.upstream),
                    )
                )
        if self.address is not None and not _is_address(self.address):
            raise ConfigError(
                say(
                    "{path}: address = {address} is not of the form wss://host:port",
                    path=self.path,
                    address=repr(self.address),
                )
            )

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
    def admits(self) -> str:
        """What ``enrolment`` comes to: ``open`` or ``closed``."""
        return self.enrolment or (OPEN if is_loopback(self.host) else CLOSED)

    @property
    def encrypted(self) -> bool:
        """Whether the port speaks TLS."""
        return self.certificate is not None or not is_loopback(self.host)

    @property
    def listens(self) -> bool:
        """Whether nodes below may connect."""
        return bool(self.port or self.listen)

    def reached_at(self, port: int) -> str | None:
        """Return the address under which nodes below reach a port of this node; None when ``address`` must say it."""
        if self.address is not None:
            return self.address
        if not port or self.host in {"0.0.0.0", "::"}:  # noqa: S104 - it is looked for, not listened on
            return None
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.encrypted else 'ws'}://{host}:{port}"

    def file(self, name: str | None) -> Path | None:
        """Return the path of a file that the configuration names; it is relative to the folder."""
        return None if name is None else self.folder / name

    @property
    def identity(self) -> Identity:
        """Who the node is."""
        return Identity(self.device, self.role, self.account, self.store)


def _is_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        # The port is read because that is when one out of range raises.
        return parts.scheme in {"ws", "wss"} and bool(parts.hostname) and bool(parts.port)
    except ValueError:
        return False


def check_links(config: NodeConfig) -> None:
    """Refuse what a node could run with, but has no link for.

    `load_config` does not: a node that runs so and sells goes on selling.

    Raises:
        ConfigError: the message names the key.
    """
    if config.role is Role.CAIXA and config.listens:
        raise ConfigError(
            say(
                "{path}: port = {port}, but nothing connects to a caixa; remove it",
                path=config.path,
                port=config.port,
            )
        )
    if config.upstream is None:
        return
    try:
        is_encrypted(config.upstream)
    except InsecureTransport as error:
        raise ConfigError(say("{path}: upstream = {error}", path=config.path, error=error)) from error
    except ValueError as error:
        raise ConfigError(
            say(
                "{path}: upstream = {upstream} is not of the form wss://host:port",
                path=config.path,
                upstream=repr(config.upstream),
            )
        ) from error


def address_missing(config: NodeConfig) -> str:
    """Return what is to be done where `NodeConfig.reached_at` knows nothing, as a Said."""
    return say(
        "{path}: address is missing: where do nodes below reach this one? Write address = "
        '"wss://HOST:PORT", and host and port to listen on',
        path=config.path,
    )


def load_config(folder: Path) -> NodeConfig:
    """Read ``node.toml`` in a folder.

    Raises:
        ConfigError: the file is missing or says something that cannot be; the message names the key.
    """
    path = folder / CONFIG_NAME
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(
            say(
                "{path}: there is no such file; make the node with `crdtsync init {folder}`",
                path=path,
                folder=folder,
            )
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise _illegible(path, text, error) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            say("{path}: the file is no text in UTF-8; save it so with an editor", path=path)
        ) from error
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


def _illegible(path: Path, text: str, error: tomllib.TOMLDecodeError) -> ConfigError:
    """Say where a file is no TOML in the words of who wrote it: those of the library are about grammar."""
    lines = text.rstrip().splitlines()
    # Without a number it is the end of the file.
    found = _LINE.search(str(error))
    number = min(int(found[1]), len(lines)) if found else len(lines)
    keys = [line.partition("=")[0].strip() for line in lines[:number]]
    if keys[-1] and keys[-1] in keys[:-1]:
        return ConfigError(
            say("{path}: line {line}: {key} is there twice; remove one", path=path, line=number, key=keys[-1])
        )
    return ConfigError(
        say(
            "{path}: line {line}: {text} is not of the form KEY = VALUE; mend the file: a text stands between "
            "quotes, a number does not, yes is true and no is false",
            path=path,
            line=number,
            text=lines[number - 1].strip(),
        )
    )


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
        what = {
            float: say("a number"),
            int: say("a whole number"),
            bool: say("true or false"),
            str: say("a text between quotes"),
        }[allowed[0]]
        shown = repr(value).lower() if isinstance(value, bool) else repr(value)
        raise ConfigError(
            say("{path}: {key} = {value}; write {what}", path=path, key=key, value=shown, what=what)
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
        hand_over(config.path)
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
