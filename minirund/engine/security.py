"""What a container may do: capabilities, the seccomp profile, masked and read-only paths. Docker's defaults.

Pure: from the words of HostConfig (CapAdd, CapDrop, Privileged, SecurityOpt) to the words of the OCI configuration.
The runtime carries them out. The seccomp profile is Docker's own file, moby/profiles' default.json (Apache-2.0).
"""

from __future__ import annotations

import functools
import json
import platform
import re
from collections.abc import Iterable
from importlib import resources
from typing import Any, NamedTuple

from minirund.engine.records import Json
from minirund.errors import InvalidArgument

CAPABILITIES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE""".split()
"""All that the kernel knows (capabilities(7)), by number."""

DEFAULT = """CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT
KILL AUDIT_WRITE""".split()

MASKED = (
    *(f"/proc/{name}" for name in (
        "acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list",
        "timer_stats",
    )),
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
READONLY = tuple(f"/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger"))

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "x86"}
_NATIVE = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64", "x86": "SCMP_ARCH_X86"}


class Policy(NamedTuple):
    """What HostConfig comes to. ``seccomp`` is OCI's object, None for unconfined."""

    capabilities: tuple[str, ...]
    seccomp: Json | None
    no_new_privileges: bool
    masked: tuple[str, ...]
    readonly: tuple[str, ...]


def policy(host: Json) -> Policy:
    """The policy that a HostConfig asks for. Raises InvalidArgument."""
    options = _options(host.get("SecurityOpt") or ())
    privileged = bool(host.get("Privileged"))
    capabilities = granted(host.get("CapAdd") or (), host.get("CapDrop") or (), privileged)
    bare = privileged or options.get("systempaths") == "unconfined"
    return Policy(
        capabilities,
        _seccomp(options.get("seccomp"), capabilities, privileged),
        options.get("no-new-privileges", "false") == "true",
        () if bare else _paths(host, "MaskedPaths", MASKED),
        () if bare else _paths(host, "ReadonlyPaths", READONLY),
    )


def _paths(host: Json, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    given = host.get(key)
    return default if given is None else tuple(given)


def granted(add: Iterable[str], drop: Iterable[str], privileged: bool = False) -> tuple[str, ...]:
    """The capabilities left, as CAP_NAME, in the kernel's order. Raises InvalidArgument for a name that is none."""
    if privileged:
        return tuple(f"CAP_{name}" for name in CAPABILITIES[: last_capability() + 1])
    adds, drops = [_capability("CapAdd", name) for name in add], [_capability("CapDrop", name) for name in drop]
    have = set() if "ALL" in drops else set(CAPABILITIES[: last_capability() + 1] if "ALL" in adds else DEFAULT)
    have = (have - set(drops)) | (set(adds) - {"ALL"})
    return tuple(f"CAP_{name}" for name in CAPABILITIES if name in have)


def _capability(key: str, name: str) -> str:
    short = name.upper().removeprefix("CAP_")
    if short != "ALL" and short not in CAPABILITIES:
        raise InvalidArgument(f'invalid {key}: unknown capability: "CAP_{short}"')
    return short


@functools.cache
def last_capability() -> int:
    """The highest capability that this kernel knows."""
    try:
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return len(CAPABILITIES) - 1


def _options(given: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for option in given:
        key, _, value = option.partition("=") if "=" in option else option.partition(":")
        if key not in {"seccomp", "no-new-privileges", "apparmor", "label", "systempaths"}:
            raise InvalidArgument(f'invalid --security-opt: "{option}"')
        if key == "apparmor" and value != "unconfined":
            raise InvalidArgument(f'--security-opt {option}: minirund has no AppArmor profiles, only "unconfined"')
        found[key] = value or "true"
    return found


def _seccomp(option: str | None, capabilities: tuple[str, ...], privileged: bool) -> Json | None:
    if option == "unconfined" or (privileged and option is None):
        return None
    if option is None or option == "builtin":
        return _default(capabilities)
    try:
        return translate(json.loads(option), frozenset(capabilities))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from None


@functools.lru_cache(maxsize=16)
def _default(capabilities: tuple[str, ...]) -> Json:
    return translate(json.loads(_profile_text()), frozenset(capabilities))


def _profile_text() -> str:
    return (resources.files("minirund") / "data" / "seccomp-default.json").read_text(encoding="utf-8")


def translate(profile: Json, capabilities: frozenset[str]) -> Json:
    """A profile in Docker's form -> OCI's ``linux.seccomp``: conditions on capability, kernel and machine decided.

    Source: moby's profiles/seccomp; runtime-spec, config-linux.md, "Seccomp".
    """
    machine = _MACHINES.get(platform.machine(), platform.machine())
    rules = [
        _rule(entry)
        for entry in profile.get("syscalls") or ()
        if _applies(entry, capabilities, machine) and (entry.get("names") or entry.get("name"))
    ]
    result: Json = {
        "defaultAction": profile["defaultAction"],
        "architectures": profile.get("architectures") or _architectures(profile, machine),
        "syscalls": rules,
    }
    if profile.get("defaultErrnoRet") is not None:
        result["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return result


def _architectures(profile: Json, machine: str) -> list[str]:
    native = _NATIVE.get(machine)
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            return [native, *(entry.get("subArchitectures") or ())]
    return [native] if native else []


def _applies(entry: Json, capabilities: frozenset[str], machine: str) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    return (
        set(includes.get("caps") or ()) <= capabilities
        and (not includes.get("arches") or machine in includes["arches"])
        and kernel() >= _version(includes.get("minKernel") or "0")
        and not capabilities & set(excludes.get("caps") or ())
        and machine not in (excludes.get("arches") or ())
        and not ("minKernel" in excludes and kernel() >= _version(excludes["minKernel"]))
    )


def _rule(entry: Json) -> Json:
    rule: dict[str, Any] = {"names": entry.get("names") or [entry["name"]], "action": entry["action"]}
    if entry.get("errnoRet") is not None:
        rule["errnoRet"] = entry["errnoRet"]
    if entry.get("args"):
        rule["args"] = entry["args"]
    return rule


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(re.match(r"\d*", minor).group() or 0)  # type: ignore[union-attr]


@functools.cache
def kernel() -> tuple[int, int]:
    """The running kernel's version, major and minor."""
    return _version(platform.release())
