"""What no container can be made of, whatever else it says: told when it is asked for, and not when it is to start.

A text with a NUL in it can't be passed to the kernel, nor one that is no Unicode; a line break in a name would write
lines of its own into the container's /etc/hosts and resolv.conf. What an image's configuration says comes through here
too, merged with what the user says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from minirund.engine.records import Json
from minirund.errors import InvalidArgument
from netns.resolv import hosts_file

MAX_HOSTNAME = 64
"""Bytes: the kernel's __NEW_UTS_LEN."""
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_INT64 = range(-(1 << 63), 1 << 63)


def check(config: Json, host: Json, networking: Json) -> None:
    """A container that is to be created. Raises InvalidArgument, which names the field."""
    check_values({**config, "HostConfig": host, "NetworkingConfig": networking})
    _check_names(config)
    _check_directory(config)
    check_env(config.get("Env") or ())
    _check_ports(config.get("ExposedPorts") or ())
    _check_resolver(host)
    _check_hosts(host)


def check_exec(config: Json) -> None:
    """The same for an exec. Raises InvalidArgument."""
    check_values(config)
    _check_directory(config)
    check_env(config.get("Env") or ())


def check_values(whole: Json) -> None:
    """No NUL and nothing but Unicode in any text, no number beyond 64 bits. Raises InvalidArgument."""
    for path, value in _leaves(whole, ""):
        if isinstance(value, str):
            _check_text(path, value)
        elif isinstance(value, int) and value not in _INT64:
            raise InvalidArgument(f"invalid value for {path}: it does not fit into 64 bits")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield path or "a field's name", key
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]")
    else:
        yield path, value


def _check_text(path: str, text: str) -> None:
    if "\0" in text:
        raise InvalidArgument(f"invalid value for {path}: it has a NUL character in it")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"invalid value for {path}: it is not valid Unicode") from None


def _check_names(config: Json) -> None:
    for key in ("Hostname", "Domainname"):
        name = config.get(key) or ""
        if len(name.encode()) > MAX_HOSTNAME:
            raise InvalidArgument(f"invalid {key}: {len(name.encode())} bytes are too many: at most {MAX_HOSTNAME}")
        if not name.isprintable() or set(name) & set(" /#"):
            raise InvalidArgument(f"invalid {key}: {name!r}: a name of letters, digits, dots and dashes is wanted")


def _check_directory(config: Json) -> None:
    directory = config.get("WorkingDir") or "/"
    if not directory.startswith("/"):
        raise InvalidArgument(f"the working directory '{directory[:80]}' is invalid, it needs to be an absolute path")


def check_env(env: Any) -> None:
    """Every variable has a name. Raises InvalidArgument."""
    for word in env:
        if not word or word.startswith("="):
            raise InvalidArgument(f"invalid environment variable: {word[:80]}")


def _check_ports(ports: Any) -> None:
    for port in ports:
        found = _PORT.fullmatch(port)
        if not found or any(int(number or 1) not in range(1, 65536) for number in found.group(1, 2)):
            raise InvalidArgument(f"invalid port: {port[:80]}: use NUMBER[/tcp|/udp|/sctp], from 1 to 65535")


def _check_resolver(host: Json) -> None:
    for server in host.get("Dns") or ():
        try:
            ip_address(server)
        except ValueError:
            raise InvalidArgument(f"invalid IP address in --dns: {server[:80]}") from None
    for key, option in (("DnsSearch", "--dns-search"), ("DnsOptions", "--dns-option")):
        for word in host.get(key) or ():
            if not word.isprintable() or " " in word:
                raise InvalidArgument(f"invalid value for {option}: {word[:80]}")


def _check_hosts(host: Json) -> None:
    try:
        hosts_file("", extra_hosts=host.get("ExtraHosts") or (), host_gateway="127.0.0.1")
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
