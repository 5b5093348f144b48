"""`version`: the command's version and the daemon's."""

from __future__ import annotations

import os
import sys
import time

from minirund import __version__
from minirund.cli.context import say
from minirund.cli.options import Command, Opt
from minirund.client import API_VERSION, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

OPTIONS = (Opt("format", "string", "json or TEMPLATE (Go's templates)", "f"),)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_SERVER = (
    ("Version", "Version"),
    ("API version", "ApiVersion"),
    ("Python version", "PythonVersion"),
    ("Go version", "GoVersion"),
    ("Git commit", "GitCommit"),
    ("Built", "BuildTime"),
)


def version(context: Context, args: Parsed) -> int:
    """Show both; what the command itself is also when the daemon is away."""
    form = args.text("format")
    client = _client(context)
    try:
        server: Any = context.client.get("/version")
    except ClientError:
        if form:
            _formatted(form, {"Client": client, "Server": None})
        else:
            say("\n".join(_client_lines(client)))
        raise
    if form:
        _formatted(form, {"Client": client, "Server": server})
    else:
        say("\n".join([*_client_lines(client), "", *_server_lines(server)]))
    return 0


def _client(context: Context) -> dict[str, str]:
    machine = os.uname().machine
    return {
        "Version": __version__,
        "ApiVersion": context.client.version,
        "DefaultAPIVersion": API_VERSION,
        "PythonVersion": sys.version.split(" ", 1)[0],
        "Os": "linux",
        "Arch": _ARCHITECTURES.get(machine, machine),
    }


def _formatted(form: str, value: dict[str, Any]) -> None:
    from minirund.cli.template import Template

    say(Template("{{json .}}" if form == "json" else form).render(value))


def _client_lines(client: dict[str, str]) -> Iterator[str]:
    yield "Client:"
    for label, key in (("Version", "Version"), ("API version", "ApiVersion"), ("Python version", "PythonVersion")):
        yield f" {label + ':':<18} {client[key]}"
    yield f" {'OS/Arch:':<18} {client['Os']}/{client['Arch']}"


def _server_lines(server: dict[str, Any]) -> Iterator[str]:
    engine, *others = server.get("Components") or [{"Name": "Engine", "Version": server.get("Version")}]
    platform = (server.get("Platform") or {}).get("Name") or ""
    yield f"Server: {platform}".rstrip()
    yield f" {engine['Name']}:"
    known = {**(engine.get("Details") or {}), **server}
    for label, key in _SERVER:
        if known.get(key):
            least = f" (minimum version {known['MinAPIVersion']})" if key == "ApiVersion" else ""
            yield f"  {label + ':':<17} {_shown(key, known[key])}{least}"
    yield f"  {'OS/Arch:':<17} {known.get('Os', '')}/{known.get('Arch', '')}"
    yield f"  {'Experimental:':<17} {str(bool(server.get('Experimental'))).lower()}"
    for component in others:
        yield f" {component['Name']}:"
        for key, value in {"Version": component.get("Version"), **(component.get("Details") or {})}.items():
            yield f"  {key + ':':<17} {value}"


def _shown(key: str, value: str) -> str:
    """A build time the way ctime(3) writes it; everything else as it is."""
    fields = value[:19].replace("T", "-").replace(":", "-").split("-")
    if key != "BuildTime" or len(fields) != 6 or not all(field.isdecimal() for field in fields):
        return value
    year, month, day, hour, minute, second = map(int, fields)
    return time.asctime(time.localtime(time.mktime((year, month, day, hour, minute, second, 0, 0, -1))))


COMMANDS = {"version": Command(version, "", OPTIONS, most=0)}
