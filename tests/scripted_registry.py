"""A registry on loopback that misbehaves as it is told: what no healthy registry does, over a real connection.

    with scripted_registry() as registry:
        registry.add("library/alpine", one)                             # an Image or Index, tag latest
        registry.rule("/blobs/", cut(1000), times=2)                    # break off after 1000 bytes, twice
        registry.rule("/manifests/", status(429, {"Retry-After": "0"}))
        registry.requests                                               # what was asked: method, path, headers

A rule applies to GETs whose path contains its text, the first that matches, as often as it says; without one the
request is served. ``auth="bearer"`` or ``"basic"`` wants a token or credentials (``users``); the token server is the
same process, at /token. One thread a connection, all ended when the block is left.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from images import Blob, Image, Index

TOKEN = "a-token-of-the-tests"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: str = ""


Action = Callable[["_Handler"], bool]  # False: go on and serve the request


@dataclass
class _Rule:
    text: str
    action: Action
    times: int


@dataclass
class ScriptedRegistry:
    """What is served, how, and what was asked."""

    port: int = 0
    auth: str = ""
    users: dict[str, str] = field(default_factory=dict)
    identity_tokens: set[str] = field(default_factory=set)
    ranges: bool = True
    token_lifetime: int = 300
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], Blob] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    _rules: list[_Rule] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add(self, repository: str, what: Image | Index, tag: str = "latest") -> None:
        for one in what.images if isinstance(what, Index) else (what,):
            self.blobs |= {blob.digest: blob.data for blob in one.blobs()}
            self.manifests[repository, one.digest] = one.manifest
        self.manifests[repository, tag] = self.manifests[repository, what.digest] = what.manifest

    def rule(self, text: str, action: Action, times: int = 1_000_000) -> None:
        self._rules.append(_Rule(text, action, times))

    def applied(self, handler: _Handler) -> bool:
        for rule in self._rules:
            if rule.text in handler.path and rule.times > 0:
                rule.times -= 1
                return rule.action(handler)
        return False

    def asked(self, text: str) -> list[Request]:
        return [request for request in self.requests if text in request.path]


# --- actions ---------------------------------------------------------------------------------------------------------


def status(code: int, headers: dict[str, str] | None = None, body: Any = None) -> Action:
    def action(handler: _Handler) -> bool:
        handler.answer(code, json.dumps(body or {}).encode(), headers or {})
        return True

    return action


def error(code: int, name: str, message: str) -> Action:
    return status(code, body={"errors": [{"code": name, "message": message}]})


def redirect(url: str, code: int = 307) -> Action:
    return status(code, {"Location": url})


def cut(count: int) -> Action:
    """Announce the whole answer, send so many bytes of it, and break the connection."""

    def action(handler: _Handler) -> bool:
        handler.limit = count
        return False

    return action


def altered(change: Callable[[bytes], bytes]) -> Action:
    """Send another body, its length right."""

    def action(handler: _Handler) -> bool:
        handler.change = change
        return False

    return action


def held(event: threading.Event, count: int = 0) -> Action:
    """Send so many bytes, then wait for the event before the rest."""

    def action(handler: _Handler) -> bool:
        handler.hold = (event, count)
        return False

    return action


def slammed() -> Action:
    """Close the connection without an answer."""

    def action(handler: _Handler) -> bool:
        handler.slam()
        return True

    return action


# --- the server ------------------------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: ScriptedRegistry
    limit: int | None
    change: Callable[[bytes], bytes] | None
    hold: tuple[threading.Event, int] | None

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        self._begin("")
        if self.path.startswith("/token"):
            self._token(parse_qs(urlsplit(self.path).query), self._basic())
        elif not self.registry.applied(self) and self._admitted():
            self._serve(urlsplit(self.path).path)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self._begin(body)
        form = parse_qs(body)
        known = form.get("refresh_token", [""])[0] in self.registry.identity_tokens
        self._token(form, "<identity>" if known else "!")

    def _begin(self, body: str) -> None:
        self.limit, self.change, self.hold = None, None, None
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.registry.requests.append(Request(self.command, self.path, headers, body))

    def answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self._send(body)

    def _send(self, body: bytes) -> None:
        try:
            if self.hold:
                event, count = self.hold
                self.wfile.write(body[:count])
                event.wait(60)
                body = body[count:]
            self.wfile.write(body[: self.limit])
        except OSError:
            self.close_connection = True
        if self.limit is not None and self.limit < len(body):
            self.slam()

    def slam(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _basic(self) -> str:
        """The user's name, "" for nobody, "!" for wrong credentials."""
        value = self.headers.get("Authorization", "")
        if not value.startswith("Basic "):
            return ""
        name, _, password = base64.b64decode(value[6:]).decode().partition(":")
        return name if self.registry.users.get(name) == password else "!"

    def _token(self, asked: dict[str, list[str]], user: str) -> None:
        if user == "!":
            self.answer(401, b'{"details": "incorrect username or password"}', {})
            return
        allowed = user or not self.registry.users
        token = f"{TOKEN} {asked['scope'][0]}" if allowed else "nobody"
        value = base64.urlsafe_b64encode(token.encode()).decode()
        whole = {"token": value, "expires_in": self.registry.token_lifetime}
        self.answer(200, json.dumps(whole).encode(), {"Content-Type": "application/json"})

    def _admitted(self) -> bool:
        repository = self.path.removeprefix("/v2/").partition("/manifests/")[0].partition("/blobs/")[0]
        wanted = base64.urlsafe_b64encode(f"{TOKEN} repository:{repository}:pull".encode()).decode()
        challenge = 'Basic realm="tests"'
        if self.registry.auth == "bearer":
            if self.headers.get("Authorization") == f"Bearer {wanted}":
                return True
            challenge = f'Bearer realm="http://{self.headers["Host"]}/token",service="tests",scope="x:y:z"'
        elif not self.registry.auth or self._basic() not in ("", "!"):
            return True
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        self.answer(401, json.dumps(body).encode(), {"WWW-Authenticate": challenge})
        return False

    def _serve(self, path: str) -> None:
        repository, _, identifier = path.removeprefix("/v2/").rpartition("/manifests/")
        manifest = self.registry.manifests.get((repository, identifier))
        blob = self.registry.blobs.get(path.rpartition("/blobs/")[2])
        if repository and manifest:
            digest = {"Docker-Content-Digest": manifest.digest, "Content-Type": manifest.media_type}
            self._content(manifest.data, digest)
        elif blob is not None:
            self._content(blob, {})
        else:
            code = "BLOB_UNKNOWN" if "/blobs/" in path else "MANIFEST_UNKNOWN"
            error(404, code, code.lower().replace("_", " "))(self)

    def _content(self, body: bytes, headers: dict[str, str]) -> None:
        body = self.change(body) if self.change else body
        start = self.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
        if start and self.registry.ranges:
            whole = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
            self.answer(206, body[int(start) :], headers | whole)
        else:
            self.answer(200, body, headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # joined at the end
    block_on_close = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that speaks TLS, or has gone, is no news."""


@contextmanager
def scripted_registry(tls: ssl.SSLContext | None = None, **options: Any) -> Iterator[ScriptedRegistry]:
    """Serve until the block is left. ``options`` are fields of ScriptedRegistry."""
    registry = ScriptedRegistry(**options)
    handler = type("_OneHandler", (_Handler,), {"registry": registry, "timeout": 30})
    server = _Server(("127.0.0.1", 0), handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    registry.port = server.server_address[1]
    connections: list[socket.socket] = []
    plain_accept = server.get_request

    def accept() -> tuple[socket.socket, Any]:
        connection, address = plain_accept()
        connections.append(connection)
        return connection, address

    server.get_request = accept  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        for connection in connections:  # kept-alive connections end with it
            _close(connection)
        server.server_close()


def _close(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
