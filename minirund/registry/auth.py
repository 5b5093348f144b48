"""How a registry is told who asks.

    GET /v2/NAME/manifests/latest            -> 401, WWW-Authenticate: Bearer realm="https://auth...",service=,scope=
    GET realm?service=...&scope=...          -> {"token": ..., "expires_in": 300}     with basic credentials, if any
    GET /v2/... Authorization: Bearer TOKEN  -> 200

A registry may also say ``Basic``: then the credentials go with every request. An *identity token* (from a login with a
browser) is a refresh token: it is exchanged by POST as OAuth 2 does. ``Authorizations`` keeps what one repository was
given, by origin, until it runs out; nothing is sent to an origin that did not ask for it.
Sources: distribution docs "Token Authentication" and "OAuth2"; RFC 9110 section 11; RFC 6749 section 6.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from minirund.errors import InvalidArgument, RegistryError, Unauthorized

CLIENT_ID = "minirund"
DEFAULT_LIFETIME = 60.0  # seconds; what a token without expires_in is good for, by the specification
EARLY = 5.0  # seconds; a token is renewed this long before it runs out

_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9_-]*)(?:\s+|$|(?=,))")
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True)
class Credentials:
    """What the user gave for a registry. Never printed: ``repr`` shows the name only."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def credentials(given: Mapping[str, Any] | None) -> Credentials:
    """From a decoded ``X-Registry-Auth``: username and password, or both in ``auth``, or a token.

    Raises InvalidArgument where a value has the wrong type or ``auth`` is not base64 of ``name:password``.
    """
    given = given or {}
    texts = {key.lower(): given[key] or "" for key in given}
    wanted = ("username", "password", "identitytoken", "registrytoken", "auth")
    if not all(isinstance(texts.get(key, ""), str) for key in wanted):
        raise InvalidArgument("invalid X-Registry-Auth header: a value is not a string")
    name, password = texts.get("username", ""), texts.get("password", "")
    if not name and texts.get("auth"):
        name, password = _name_and_password(texts["auth"])
    if name == "<token>":
        return Credentials(identity_token=password)
    return Credentials(name, password, texts.get("identitytoken", ""), texts.get("registrytoken", ""))


def _name_and_password(auth: str) -> tuple[str, str]:
    try:
        name, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise InvalidArgument("invalid X-Registry-Auth header: auth is not base64 of name:password")
    return name, password.rstrip("\0")


@dataclass(frozen=True)
class Challenge:
    """One way in that a registry offers. ``scheme`` is in lower case, ``parameters`` have lower case names."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(header: str) -> list[Challenge]:
    """Read a ``WWW-Authenticate`` value; several challenges may share one. What can't be read is left out."""
    found: list[Challenge] = []
    position = 0
    while match := _SCHEME.match(header, position):
        parameters: dict[str, str] = {}
        position = match.end()
        while parameter := _PARAMETER.match(header, position):
            quoted, plain = parameter[2], parameter[3]
            parameters[parameter[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            position = parameter.end()
        found.append(Challenge(match[1].lower(), parameters))
    return found


class TokenSource(Protocol):
    """What this module needs of the network: one request, its status and its JSON."""

    async def fetch_json(
        self, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """GET ``url``, or POST ``form`` to it. Raises RegistryError when there is no answer, or none in JSON."""


@dataclass
class _Granted:
    header: str
    until: float  # time.monotonic() seconds


class Authorizations:
    """The Authorization headers of one repository: by origin, renewed when they run out."""

    def __init__(self, source: TokenSource, credentials: Credentials, scope: str) -> None:
        self._source = source
        self._credentials = credentials
        self._scope = scope
        self._granted: dict[str, _Granted] = {}

    def header(self, origin: str) -> str:
        """What to send to ``origin`` (``https://host:port``) now; "" if nothing was asked for yet."""
        granted = self._granted.get(origin)
        return granted.header if granted and granted.until > time.monotonic() else ""

    async def answer(self, origin: str, challenges: list[Challenge], trusted: bool) -> bool:
        """Meet a challenge; False where none can be met. ``trusted``: our credentials are for this origin.

        Raises Unauthorized where the credentials are refused or missing, RegistryError for a broken token server.
        """
        mine = self._credentials if trusted else Credentials()
        for challenge in sorted(challenges, key=lambda one: one.scheme != "bearer"):
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                self._granted[origin] = await self._bearer(origin, challenge, mine)
                return True
            if challenge.scheme == "basic":
                self._granted[origin] = _Granted(_basic(origin, mine), float("inf"))
                return True
        return False

    async def _bearer(self, origin: str, challenge: Challenge, mine: Credentials) -> _Granted:
        if mine.registry_token:
            return _Granted(f"Bearer {mine.registry_token}", float("inf"))
        realm, service = challenge.parameters["realm"], challenge.parameters.get("service", "")
        _check_realm(origin, realm, mine)
        asked = {"service": service, "scope": self._scope}
        if mine.identity_token:
            form = asked | {"grant_type": "refresh_token", "refresh_token": mine.identity_token, "client_id": CLIENT_ID}
            status, answer = await self._source.fetch_json(realm, {}, form)
        else:
            named = {"account": mine.username, "client_id": CLIENT_ID} if mine else {}
            headers = {"Authorization": mine.basic()} if mine else {}
            status, answer = await self._source.fetch_json(_with_query(realm, asked | named), headers)
        return _token(status, answer, realm)


def _basic(origin: str, mine: Credentials) -> str:
    if not mine.username:
        raise Unauthorized(f"{urlsplit(origin).netloc}: no basic auth credentials")
    return mine.basic()


def _check_realm(origin: str, realm: str, mine: Credentials) -> None:
    """Credentials that came over TLS don't go on without it."""
    target = urlsplit(realm)
    if target.scheme not in ("http", "https") or not target.hostname:
        raise RegistryError(f"{urlsplit(origin).netloc}: token server {realm[:200]!r} is not an http(s) address")
    if mine and origin.startswith("https:") and target.scheme != "https":
        raise RegistryError(f"{urlsplit(origin).netloc}: credentials are not sent to {realm[:200]!r}: it has no TLS")


def _with_query(realm: str, parameters: Mapping[str, str]) -> str:
    query = urlencode({key: value for key, value in parameters.items() if value})
    return f"{realm}{'&' if '?' in realm else '?'}{query}"


def _token(status: int, answer: Mapping[str, Any], realm: str) -> _Granted:
    if status in (400, 401, 403):
        raise Unauthorized(f"unauthorized: {_reason(answer) or 'incorrect username or password'}")
    token = answer.get("token") or answer.get("access_token")
    if status != 200 or not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
        raise RegistryError(f"token server {urlsplit(realm).netloc} gave no token (status {status})")
    lifetime = answer.get("expires_in")
    seconds = float(lifetime) if isinstance(lifetime, int | float) and lifetime > 0 else DEFAULT_LIFETIME
    return _Granted(f"Bearer {token}", time.monotonic() + max(seconds - EARLY, EARLY))


def _reason(answer: Mapping[str, Any]) -> str:
    """The reason a token server gives: Docker Hub says ``details``, distribution ``errors``, OAuth 2 its own."""
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    texts = (answer.get("details"), answer.get("error_description"), first.get("message"))
    return next((" ".join(text.split())[:200] for text in texts if isinstance(text, str) and text), "")
