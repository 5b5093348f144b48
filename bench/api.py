"""The plain client: the standard library's HTTP over a unix socket, on one kept-alive connection."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any


class ApiError(Exception):
    """An answer that is none of those expected."""


class Api(http.client.HTTPConnection):
    """A connection; where the server closes it, the next request opens it again, as http.client does by itself."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request; its answer from JSON, None where there is none. Raises ApiError for a status of 400 or above."""
        data = b"" if body is None else json.dumps(body).encode()
        self.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise ApiError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text) if text.startswith((b"{", b"[")) and b"\n{" not in text else None

    def cycle(self, image: str) -> None:
        """create, start, wait, remove."""
        made = self.call("POST", "/v1.41/containers/create", {"Image": image, "Cmd": ["true"]})["Id"]
        self.call("POST", f"/v1.41/containers/{made}/start")
        code = self.call("POST", f"/v1.41/containers/{made}/wait")["StatusCode"]
        self.call("DELETE", f"/v1.41/containers/{made}")
        if code != 0:
            raise ApiError(f"true ended with {code}")

    def exec(self, container: str) -> None:
        """exec create, start with its output attached, read to the end."""
        body = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
        made = self.call("POST", f"/v1.41/containers/{container}/exec", body)["Id"]
        self.call("POST", f"/v1.41/exec/{made}/start", {"Detach": False, "Tty": False})
