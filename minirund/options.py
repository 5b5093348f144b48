"""What minirund may be told, by options and daemon.json, and what it comes to. The names are dockerd's."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
from collections.abc import Callable
from ipaddress import IPv4Interface, ip_address
from typing import Any

from minirund import __version__
from minirund.engine import quota
from minirund.engine.settings import DRIVERS, EXEC_OPT, Settings
from minirund.errors import InvalidArgument
from minirund.sizes import size

DEFAULT_HOST = "unix:///run/minirund.sock"
DEFAULT_CONFIG = "/etc/minirund/daemon.json"
EXEC_OPT_HELP = f"{EXEC_OPT}={' or '.join(DRIVERS)}: who makes the cgroups (default systemd where it runs)"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


class BadOption(InvalidArgument):
    """An option, or a key of daemon.json, that can't be carried out: one line."""


def parser() -> argparse.ArgumentParser:
    """The options; the names are dockerd's where the meaning is."""
    options = argparse.ArgumentParser(
        prog="minirund", description="A container engine: makes containers itself, speaks the Docker Engine API."
    )
    add = options.add_argument
    add(
        "-H",
        "--host",
        action="append",
        dest="hosts",
        metavar="URL",
        help=f"socket to serve on, repeatable: unix:///PATH or fd:// (from systemd) (default {DEFAULT_HOST})",
    )
    add("--data-root", metavar="DIR", help="images and containers (default /var/lib/minirund)")
    add("--exec-root", metavar="DIR", help="state that is gone at reboot (default /run/minirund)")
    add("--group", metavar="NAME", help='group that may use the socket (default "minirun" if it exists)')
    add("--bridge", metavar="NAME", help="the containers' bridge (default minirun0)")
    add("--bip", metavar="CIDR", help="the bridge's own address with its prefix (default: a subnet that is free)")
    add("--dns", action="append", metavar="IP", help="name server for containers, repeatable")
    add("--dns-search", action="append", metavar="DOMAIN", help="search domain for containers, repeatable")
    add("--dns-opt", action="append", metavar="OPTION", help="resolver option for containers, repeatable")
    add("--insecure-registry", action="append", metavar="HOST", help="registry (or network) without good TLS")
    add("--registry-mirror", action="append", metavar="URL", help="mirror of docker.io, repeatable")
    add(
        "--storage-opt", action="append", metavar="OPTION", help="overlay2.size=SIZE: what a container's layer may hold"
    )
    add("--max-unpacked-size", metavar="SIZE", help="refuse an image layer that unpacks to more, like 20g")
    add("--cgroup-parent", metavar="PATH", help="parent of the containers' cgroups: a path, or a slice of systemd's")
    add("--exec-opt", action="append", metavar="KEY=VALUE", help=EXEC_OPT_HELP)
    add("--network-pool", metavar="N", help="network namespaces kept ready (default 4)")
    add("--metrics-addr", metavar="ADDR", help="serve /metrics there too, like 127.0.0.1:9323 (default: on the socket)")
    add("--config-file", metavar="FILE", help=f"daemon configuration in JSON (default {DEFAULT_CONFIG})")
    add("-l", "--log-level", choices=sorted(LEVELS), help="how much to log (default info)")
    add("-D", "--debug", action="store_true", default=None, help="the same as --log-level debug")
    add("-p", "--pidfile", metavar="FILE", help="where to write the process ID (default: nowhere)")
    add("-v", "--version", action="version", version=f"minirund {__version__}")
    return options


CONFIG_KEYS = {  # daemon.json's key -> the option it stands for; dockerd's names
    "hosts": "hosts", "data-root": "data_root", "exec-root": "exec_root", "group": "group", "bridge": "bridge",
    "bip": "bip", "dns": "dns", "dns-search": "dns_search", "dns-opts": "dns_opt",
    "insecure-registries": "insecure_registry", "registry-mirrors": "registry_mirror",
    "storage-opts": "storage_opt", "exec-opts": "exec_opt",
    "max-unpacked-size": "max_unpacked_size", "cgroup-parent": "cgroup_parent", "network-pool": "network_pool",
    "metrics-addr": "metrics_addr", "log-level": "log_level", "debug": "debug", "pidfile": "pidfile",
}  # fmt: skip
KINDS = {
    **dict.fromkeys(("hosts", "dns", "dns_search", "dns_opt", "insecure_registry", "registry_mirror"), "texts"),
    **dict.fromkeys(("storage_opt", "exec_opt"), "texts"),
    **dict.fromkeys(("max_unpacked_size", "network_pool"), "number"),
    "debug": "flag",
}
"""Option -> what its value is in daemon.json, if not a text."""
KIND_NAMES = {"texts": "a list of texts", "number": "a number or a text", "flag": "true or false", "text": "a text"}


def merged(options: argparse.Namespace) -> dict[str, Any]:
    """Options and daemon.json together. The same thing in both is an error, as in dockerd. Raises BadOption."""
    found = {key: value for key, value in vars(options).items() if value is not None}
    path = options.config_file or DEFAULT_CONFIG
    for key, value in _config(path, options.config_file is not None).items():
        name = CONFIG_KEYS.get(key)
        if name is None:
            raise BadOption(f"{path}: unknown key {key!r}: known are {', '.join(sorted(CONFIG_KEYS))}")
        if name in found:
            raise BadOption(f"{path}: {key!r} is given as an option too: say it in one place")
        kind = KINDS.get(name, "text")
        if not _is_a(kind, value):
            raise BadOption(f"{path}: the value of {key!r} must be {KIND_NAMES[kind]}")
        found[name] = value
    return found


def _is_a(kind: str, value: Any) -> bool:
    if kind == "texts":
        return isinstance(value, list) and all(_is_a("text", entry) for entry in value)
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "number" and isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, str) and bool(value) and "\0" not in value


def _config(path: str, required: bool) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except FileNotFoundError:
        if required:
            raise BadOption(f"no such configuration file: {path}") from None
        return {}
    except (OSError, ValueError) as error:
        raise BadOption(f"{path}: {error}") from None
    if not isinstance(data, dict):
        raise BadOption(f"{path}: not a JSON object")
    return data


def settings_from(found: dict[str, Any]) -> Settings:
    """The engine's settings. Raises BadOption."""
    known: dict[str, Any] = {"hosts": tuple(found.get("hosts") or (DEFAULT_HOST,))}
    for name in ("data_root", "exec_root"):
        if name in found:
            known[name] = os.path.abspath(found[name])
    for name, field in (
        ("dns", "dns"),
        ("dns_search", "dns_search"),
        ("dns_opt", "dns_options"),
        ("insecure_registry", "insecure_registries"),
        ("registry_mirror", "registry_mirrors"),
    ):
        if name in found:
            known[field] = tuple(found[name])
    for server in found.get("dns", ()):
        _check_server(server)
    for name in ("bridge", "cgroup_parent"):
        if name in found:
            known[name] = found[name]
    if len(found.get("bridge", "")) > 15:
        raise BadOption(f"--bridge {found['bridge']}: an interface's name has at most 15 characters")
    for option in found.get("storage_opt", ()):
        known["layer_size"] = _layer_size(option)
    for option in found.get("exec_opt", ()):
        known["cgroup_driver"] = _driver(option)
    known |= {field: read(found[name]) for name, (field, read) in READ.items() if name in found}
    return Settings(**known, log_level=log_level(found))


def _check_server(text: str) -> None:
    try:
        ip_address(text)
    except ValueError:
        raise BadOption(f"--dns {text}: not an IP address") from None


def log_level(found: dict[str, Any]) -> str:
    """The level's name."""
    level = "debug" if found.get("debug") else str(found.get("log_level", "info"))
    if level not in LEVELS:
        raise BadOption(f"log level {level!r}: use one of {', '.join(sorted(LEVELS))}")
    return level


def _interface(text: str) -> IPv4Interface:
    try:
        address = IPv4Interface(text)
    except ValueError:
        raise BadOption(f"--bip {text}: not an IPv4 address with prefix, like 172.20.0.1/16") from None
    if address.is_loopback or address.is_multicast or address.is_unspecified:
        raise BadOption(f"--bip {text}: no address for a bridge: use one like 172.20.0.1/16")
    if address.network.prefixlen > 29 or address.ip in {
        address.network.network_address,
        address.network.broadcast_address,
    }:
        raise BadOption(f"--bip {text}: it must be a host's address in a network of /29 or larger, like 172.20.0.1/16")
    return address


def _layer_size(option: str) -> int:
    key, separator, value = option.partition("=")
    if not separator:
        raise BadOption(f"--storage-opt: Unable to parse key/value option: {option}: use overlay2.size=SIZE")
    if key.strip().lower() != "overlay2.size":
        raise BadOption(f"--storage-opt: overlay2: unknown option {key}: known is overlay2.size")
    try:
        return quota.bytes_of(value.strip())
    except InvalidArgument as error:
        raise BadOption(f"--storage-opt {option}: {error}") from None


def _driver(option: str) -> str:
    key, _, driver = option.partition("=")
    if key.strip() != EXEC_OPT or driver not in DRIVERS:
        raise BadOption(f"--exec-opt {option}: known are {' and '.join(f'{EXEC_OPT}={each}' for each in DRIVERS)}")
    return driver


def _count(text: Any) -> int:
    try:
        number = int(text)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number <= 256:
        raise BadOption(f"--network-pool {text}: a number from 0 to 256")
    return number


def address(text: str) -> tuple[str, int]:
    """127.0.0.1:9323, [::1]:9323, a name, or :9323 for every address of the host. Raises BadOption."""
    found = re.fullmatch(r"(\[[^\[\]]+\]|[^\[\]:\s]*):([0-9]{1,5})", text)
    if not found or int(found[2]) > 65535:
        raise BadOption(f"--metrics-addr {text}: not an address: use HOST:PORT, like 127.0.0.1:9323")
    return found[1].strip("[]"), int(found[2])


def _unpacked(text: Any) -> int:
    try:
        return size(str(text))
    except ValueError:
        raise BadOption(f"--max-unpacked-size {text}: not a size, like 20g") from None


READ: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "bip": ("bip", _interface),
    "max_unpacked_size": ("max_unpacked_size", _unpacked),
    "metrics_addr": ("metrics_addr", address),
    "network_pool": ("pool_size", _count),
}
"""Option -> the field of Settings, and what reads its text."""
