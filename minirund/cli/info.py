"""`info`: the engine and its host, in the layout of ``docker info``."""

from __future__ import annotations

from minirund import __version__
from minirund.cli.context import say, warn
from minirund.cli.human import binary_size
from minirund.cli.options import Command, Opt
from minirund.client import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

OPTIONS = (Opt("format", "string", "json or TEMPLATE (Go's templates)", "f"),)

# (label, key), in order; two spaces in front of a label put it beneath the one before
_FIRST = (
    ("Containers", "Containers"),
    (" Running", "ContainersRunning"),
    (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"),
    ("Images", "Images"),
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
)
_MIDDLE = (
    ("Logging Driver", "LoggingDriver"),
    ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"),
)
_LAST = (
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"),
    ("Name", "Name"),
    ("ID", "ID"),
    ("Docker Root Dir", "DockerRootDir"),
    ("Debug Mode", "Debug"),
    ("Experimental", "ExperimentalBuild"),
)


def info(context: Context, args: Parsed) -> int:
    """Show what ``GET /info`` says."""
    form = args.text("format")
    client = {"Version": __version__, "Debug": False, "Context": "default"}
    try:
        found = context.client.get("/info")
    except ClientError:
        if not form:
            say("\n".join(_client_lines()))
        raise
    if form:
        from minirund.cli.template import Template

        template = Template("{{json .}}" if form == "json" else form)
        say(template.render({**found, "ClientInfo": client}))
        return 0
    say("\n".join([*_client_lines(), "", "Server:", *(f" {line}" for line in _server_lines(found))]))
    say("")
    if warnings := found.get("Warnings"):
        warn("\n".join(warnings))
    return 0


def _client_lines() -> tuple[str, ...]:
    return "Client:", f" Version:    {__version__}", " Context:    default", " Debug Mode: false"


def _shown(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return binary_size(value) if key == "MemTotal" else str(value)


def _lines(found: dict[str, Any], rows: tuple[tuple[str, str], ...]) -> Iterator[str]:
    return (f"{label}: {_shown(key, found[key])}" for label, key in rows if found.get(key) is not None)


def _server_lines(found: dict[str, Any]) -> Iterator[str]:
    yield from _lines(found, _FIRST)
    yield from (f" {name}: {value}" for name, value in found.get("DriverStatus") or ())
    yield from _lines(found, _MIDDLE)
    yield from _plugins(found.get("Plugins") or {})
    yield from _runtimes(found)
    yield from _security(found.get("SecurityOptions") or ())
    yield from _lines(found, _LAST)
    yield from _registries(found.get("RegistryConfig") or {})
    if found.get("Labels"):
        yield "Labels:"
        yield from (f" {label}" for label in found["Labels"])
    if "LiveRestoreEnabled" in found:
        yield f"Live Restore Enabled: {_shown('', found['LiveRestoreEnabled'])}"


def _plugins(plugins: dict[str, Any]) -> Iterator[str]:
    if plugins:
        yield "Plugins:"
        yield from (f" {kind}: {' '.join(plugins[kind])}" for kind in ("Volume", "Network", "Log") if plugins.get(kind))


def _runtimes(found: dict[str, Any]) -> Iterator[str]:
    if found.get("Runtimes"):
        yield f"Runtimes: {' '.join(sorted(found['Runtimes']))}"
        yield f"Default Runtime: {found.get('DefaultRuntime', '')}"
    if found.get("InitBinary"):
        yield f"Init Binary: {found['InitBinary']}"


def _security(options: Any) -> Iterator[str]:
    """``name=seccomp,profile=default`` -> the name, and its settings beneath it."""
    if options:
        yield "Security Options:"
    for option in options:
        for pair in option.split(","):
            key, _, value = pair.partition("=")
            yield f" {value}" if key == "name" else f"  {key.capitalize()}: {value}"


def _registries(config: dict[str, Any]) -> Iterator[str]:
    insecure = [name for name, entry in (config.get("IndexConfigs") or {}).items() if not entry.get("Secure")]
    if found := [*insecure, *(config.get("InsecureRegistryCIDRs") or ())]:
        yield "Insecure Registries:"
        yield from (f" {name}" for name in found)
    if config.get("Mirrors"):
        yield "Registry Mirrors:"
        yield from (f" {mirror}" for mirror in config["Mirrors"])


COMMANDS = {"info": Command(info, "", OPTIONS, most=0)}
