"""Credentials for a registry, from the file where ``docker login``, ``podman login`` and ``skopeo login`` keep them.

``{"auths": {"registry.example:5000": {"auth": base64("user:password")}}}``, in $DOCKER_CONFIG/config.json,
~/.docker/config.json or $XDG_RUNTIME_DIR/containers/auth.json. They go to the daemon in ``X-Registry-Auth``,
base64url of JSON, with the one request that needs them.
"""

from __future__ import annotations

import os

from minirund.cli.reference import canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")


def _files() -> Iterator[str]:
    home = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    yield os.path.join(home, "config.json")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield os.path.join(runtime, "containers/auth.json")


def _read(path: str) -> dict[str, Any]:
    from minirund.lean import loads

    try:
        with open(path, "rb") as file:
            found = loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _credentials(entry: dict[str, Any]) -> dict[str, str]:
    from binascii import Error, a2b_base64

    if entry.get("identitytoken"):
        return {"identitytoken": entry["identitytoken"]}
    try:
        user, colon, password = a2b_base64(entry.get("auth", "")).decode().partition(":")
    except (Error, UnicodeDecodeError):
        return {}
    return {"username": user, "password": password} if colon else {}


def registry_auth(repository: str) -> dict[str, str]:
    """The header to send along for this repository; empty where nothing is known of its registry."""
    host = canonical(repository).partition("/")[0]
    keys = _HUB_KEYS if host == "docker.io" else (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/")
    for path in _files():
        if not os.path.exists(path):
            continue
        known = _read(path).get("auths") or {}
        for key in keys:
            if key in known and (found := _credentials(known[key])):
                return {"X-Registry-Auth": _encoded({**found, "serveraddress": host})}
    return {}


def _encoded(credentials: dict[str, str]) -> str:
    from binascii import b2a_base64

    from minirund.lean import dumps

    text = b2a_base64(dumps(credentials).encode(), newline=False).decode()
    return text.replace("+", "-").replace("/", "_")
