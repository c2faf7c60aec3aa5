"""Who may ask what: the guard before everything that the monitor answers.

It listens to this machine alone, and yet every page that a browser shows can send requests to it, and every program of
every user of the machine can connect. So each request passes, in this order: the name under which it came (a page that
rebinds its own name to this machine brings its own name), its origin, a token or a known browser, what that one may do,
and the size of its body.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser

from crdtsync import limits
from crdtsync.monitor import language
from crdtsync.monitor.problems import problem, unexpected
from crdtsync.monitor.tokens import Level, Tokens
from crdtsync.said import said_of, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENTER = "/api/enter"
LEAVE = "/api/leave"
CSRF_HEADER = "X-CSRF-Token"
_PAGE: Final = frozenset({"/", "/enter"})
_PUBLIC: Final = _PAGE | {"/health/live", "/favicon.ico"}
_ELSEWHERE: Final = frozenset({"cross-site", "same-site"})
_LOOKS: Final = frozenset({"GET", "HEAD"})
_BEARER = "bearer "
_LENGTH_DIGITS_MAX = 12
_JSON = "application/json"
_CALLER = "crdtsync.caller"
_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
log = logging.getLogger("crdtsync")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``csrf`` is what a browser must say with each change; empty for a program with a token."""

    level: Level
    csrf: str = ""


def caller_of(scope: Scope) -> Caller:
    """Return who asks, of a request that passed the guard."""
    caller = scope[_CALLER]
    assert isinstance(caller, Caller)
    return caller


class LockedOut(Exception):  # noqa: N818 - it says what happened, as the program's own errors do
    """Too many wrong tokens; ``seconds`` until one is looked at again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(say("too many wrong tokens; try again in {seconds} seconds", seconds=seconds))
        self.seconds = seconds

    def answer(self) -> Response:
        """Return what the caller is told."""
        return problem(429, "locked_out", said_of(self), {"Retry-After": str(self.seconds)})


class Door:
    """Knows the tokens and the browsers that showed one. Of a browser it keeps the hash of its cookie, nothing else.

    ``now`` is a clock that only goes forward, in seconds.
    """

    def __init__(self, tokens: Tokens, port: int, now: Callable[[], float] = time.monotonic) -> None:
        # Cookies do not tell ports apart: two nodes of one machine would take each other's.
        self.cookie = f"crdtsync-{port}"
        self._hashes = {Level.RESOLVER: _hash(tokens.resolver), Level.READER: _hash(tokens.reader)}
        self._now = now
        self._secret = secrets.token_bytes(32)
        self._sessions: OrderedDict[bytes, tuple[Level, float]] = OrderedDict()
        self._failures: deque[float] = deque(maxlen=limits.MONITOR_FAILURES_MAX)
        self._locked_until = 0.0

    def level_of(self, token: str) -> Level | None:
        """Return what a token allows, None when it is wrong. Raises LockedOut for a wrong one after too many.

        The right one always passes: nobody guesses 256 bits, and a program goes on selling while another one tries.
        """
        given, found = _hash(token), None
        for level, known in self._hashes.items():
            # Both are always compared, in a time that does not depend on them.
            if hmac.compare_digest(given, known):
                found = level
        if found is None:
            now = self._now()
            if now < self._locked_until:
                raise LockedOut(int(self._locked_until - now) + 1)
            self._note_failure(now)
        return found

    def _note_failure(self, now: float) -> None:
        self._failures.append(now)
        if (
            len(self._failures) == limits.MONITOR_FAILURES_MAX
            and now - self._failures[0] <= limits.MONITOR_FAILURE_SECONDS
        ):
            self._locked_until = now + limits.MONITOR_FAILURE_SECONDS
            self._failures.clear()
            log.warning("monitor: too many wrong tokens; wrong ones are answered with 429 for a while")

    def admit(self, level: Level) -> str:
        """Return the cookie of a browser that showed a token."""
        cookie = secrets.token_urlsafe(32)
        self._sessions[_hash(cookie)] = (level, self._now())
        while len(self._sessions) > limits.MONITOR_SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return cookie

    def recall(self, cookie: str) -> Caller | None:
        """Return the caller of a cookie, None when it is not known (any more)."""
        name, now = _hash(cookie), self._now()
        found = self._sessions.get(name)
        if found is None:
            return None
        if now - found[1] > limits.MONITOR_SESSION_SECONDS:
            del self._sessions[name]
            return None
        self._sessions[name] = (found[0], now)
        self._sessions.move_to_end(name)
        return Caller(found[0], self.csrf_of(cookie))

    def csrf_of(self, cookie: str) -> str:
        """Return what a browser must say with each change: a page of another origin cannot know it."""
        return hmac.new(self._secret, cookie.encode(), sha256).hexdigest()

    def forget(self, cookie: str) -> None:
        """Let a browser be strange again."""
        self._sessions.pop(_hash(cookie), None)


def _hash(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


class Guard:
    """An ASGI application around another; see the module."""

    def __init__(self, app: ASGIApp, door: Door, port: int) -> None:
        self._app = app
        self._door = door
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            # Nothing here speaks websockets, and nothing is done when the server starts or ends.
            return
        started = False

        async def sealed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _seal(scope["path"], MutableHeaders(scope=message))
            await send(message)

        headers = Headers(scope=scope)
        language.use(headers.get(language.HEADER, ""))
        try:
            refusal = self._judge(scope, headers)
            if refusal is None and scope["method"] not in _LOOKS:
                body = await _read(receive, _bytes_max(scope["path"]))
                if body is None:
                    # Whoever sent half a body asked for nothing.
                    return
                if isinstance(body, bytes):
                    receive = _again(body, receive)
                else:
                    refusal = body
            await (refusal or self._app)(scope, receive, sealed)
        except Exception:
            # The last one that can answer: the node goes on, its log has the trace, and the caller sees none of it.
            log.exception("monitor: %s %s failed", scope["method"], scope["path"])
            if not started:
                await unexpected()(scope, receive, sealed)

    def _judge(self, scope: Scope, headers: Headers) -> Response | None:
        """Return why a request is refused; None, and who asks in the scope, when it may pass."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return problem(421, "host", say("this node does not have that name; use 127.0.0.1 and its port"))
        if any(origin not in self._origins for origin in headers.getlist("origin")):
            return _other_origin()
        if scope["path"] not in _PAGE and headers.get("sec-fetch-site") in _ELSEWHERE:
            # A request without an origin, such as that of an image; a link to the page itself may come from anywhere.
            return _other_origin()
        kind = headers.get("content-type", _JSON).partition(";")[0].strip().lower()
        if scope["method"] not in _LOOKS and kind != _JSON:
            return problem(415, "media_type", say("write the body as {kind}", kind=_JSON))
        length, most = headers.get("content-length", "0"), _bytes_max(scope["path"])
        if len(length) > _LENGTH_DIGITS_MAX or not length.isdecimal() or int(length) > most:
            return _too_large(most)
        return self._admit(scope, headers)

    def _admit(self, scope: Scope, headers: Headers) -> Response | None:
        path, looks = scope["path"], scope["method"] in _LOOKS
        if (looks and (path in _PUBLIC or path.startswith("/static/"))) or (not looks and path == ENTER):
            return None
        try:
            caller = self._caller(headers)
        except LockedOut as error:
            return error.answer()
        if caller is None:
            detail = say(
                "say who you are: a token as `Authorization: Bearer`, or open the page with its token"
            )
            return problem(401, "stranger", detail, {"WWW-Authenticate": "Bearer"})
        if not looks and caller.csrf and not _is(headers.get(CSRF_HEADER), caller.csrf):
            detail = say("the header {name} is missing or wrong; /api/me says what it is", name=CSRF_HEADER)
            return problem(403, "csrf", detail)
        if not looks and caller.level is Level.READER and path != LEAVE:
            return problem(403, "reader", say("this token only looks; changes take the other one"))
        scope[_CALLER] = caller
        return None

    def _caller(self, headers: Headers) -> Caller | None:
        given = headers.get("authorization")
        if given is not None:
            if not given.lower().startswith(_BEARER):
                return None
            level = self._door.level_of(given[len(_BEARER) :].strip())
            return Caller(level) if level else None
        cookie = cookie_in(headers, self._door.cookie)
        return self._door.recall(cookie) if cookie else None


def cookie_in(headers: Headers, name: str) -> str | None:
    """Return the value of a cookie of a request."""
    return cookie_parser(headers.get("cookie", "")).get(name)


def _is(given: str | None, expected: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), expected.encode())


def _seal(path: str, headers: MutableHeaders) -> None:
    for name, value in _HEADERS.items():
        headers[name] = value
    # A new version of the page must not meet an old script.
    headers["Cache-Control"] = "no-cache" if path.startswith("/static/") else "no-store"


def _other_origin() -> Response:
    return problem(403, "origin", say("pages of other origins have no business here"))


def _bytes_max(path: str) -> int:
    """Return how large a body may be: a stranger's only has a token."""
    return limits.MONITOR_ENTER_BYTES_MAX if path == ENTER else limits.MONITOR_BODY_BYTES_MAX


def _too_large(most: int) -> Response:
    return problem(413, "too_large", say("a body has at most {most} bytes", most=most))


async def _read(receive: Receive, most: int) -> bytes | Response | None:
    """Return the whole body, or why it is refused: what its length says may be a lie. None: its sender went away."""
    body = bytearray()
    try:
        async with asyncio.timeout(limits.MONITOR_ARRIVAL_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > most:
                    return _too_large(most)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return problem(408, "too_slow", say("the body did not arrive in time; send the request again"))


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read to the application, and then what else the server says."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give
