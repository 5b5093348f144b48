"""Options that name a device, each occurrence into an entry of HostConfig: nodes, rules, rates and weights of disks.

What Docker's command refuses without asking the daemon is refused here, in its words; whether the device is there,
only the daemon can say. ``LISTS`` is what spec.py goes by.
Source: docker run(1), --device, --device-cgroup-rule, --device-read-bps and its like, --blkio-weight-device.
"""

from __future__ import annotations

import posixpath

from minirund.cli.failure import UsageError
from minirund.sizes import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirund.cli.options import Parsed

_WEIGHTS = range(10, 1001)


def device(_option: str, spec: str) -> dict[str, str]:
    """``/dev/a[:/dev/b][:rwm]`` -> an entry of HostConfig.Devices."""
    host, *rest = spec.split(":")
    if not host or len(rest) > 2:
        raise UsageError(f"bad format for path: {spec}")
    access = rest.pop() if len(rest) == 2 or (rest and _is_mode(rest[0])) else "rwm"
    if not _is_mode(access):
        raise UsageError(f"bad mode specified: {access}")
    inside = rest[0] if rest else host
    if not inside.startswith("/"):
        raise UsageError(f"{inside} is not an absolute path")
    outside = host if rest else posixpath.normpath(host)
    return {"PathOnHost": outside, "PathInContainer": posixpath.normpath(inside), "CgroupPermissions": access}


def _is_mode(text: str) -> bool:
    """Some of the letters r, w and m, each once."""
    return bool(text) and set(text) <= set("rwm") and len(text) == len(set(text))


def rule(_option: str, spec: str) -> str:
    """``c 42:* rmw`` as it is."""
    kind, _, rest = spec.partition(" ")
    numbers, _, access = rest.partition(" ")
    major, colon, minor = numbers.partition(":")
    known = [number == "*" or (number.isascii() and number.isdecimal()) for number in (major, minor)]
    if kind not in ("a", "b", "c") or not colon or not all(known) or not access or set(access) - set("rwm"):
        raise UsageError(f"invalid device cgroup format '{spec}': use one like 'c 42:* rmw'")
    return spec


def rate(option: str, spec: str) -> dict[str, Any]:
    """``/dev/sda:1mb`` -> an entry of HostConfig.BlkioDeviceReadBps and its like; operations have no unit."""
    path, _, amount = spec.rpartition(":")
    try:
        if not path.startswith("/dev/"):
            raise ValueError
        number = size(amount) if option.endswith("bps") else int(amount)
        if number < 0:
            raise ValueError
    except ValueError:
        form = "<number>[<unit>]" if option.endswith("bps") else "<number>"
        raise UsageError(
            f'invalid argument "{spec}" for "--{option}" flag: invalid rate for device: {spec}. '
            f"The correct format is <device-path>:{form}. Number must be a positive integer"
        ) from None
    return {"Path": path, "Rate": number}


def weight(option: str, spec: str) -> dict[str, Any]:
    """``/dev/sda:500`` -> an entry of HostConfig.BlkioWeightDevice; 0 is the weight that the others have."""
    path, colon, text = spec.rpartition(":")
    said = f'invalid argument "{spec}" for "--{option}" flag'
    if not colon:
        raise UsageError(f"{said}: bad format: {spec}: use one like /dev/sda:500")
    if not path.startswith("/dev/"):
        raise UsageError(f"{said}: bad format for device path: {spec}")
    if not (text.isascii() and text.isdecimal()) or (int(text) and int(text) not in _WEIGHTS):
        raise UsageError(f"{said}: invalid weight for device: {spec}: from 10 to 1000, or 0")
    return {"Path": path, "Weight": int(text)}


LISTS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "blkio-weight-device": ("BlkioWeightDevice", weight),
    "device": ("Devices", device),
    "device-cgroup-rule": ("DeviceCgroupRules", rule),
    "device-read-bps": ("BlkioDeviceReadBps", rate),
    "device-read-iops": ("BlkioDeviceReadIOps", rate),
    "device-write-bps": ("BlkioDeviceWriteBps", rate),
    "device-write-iops": ("BlkioDeviceWriteIOps", rate),
}


def listed(args: Parsed) -> dict[str, list[Any]]:
    """{key of HostConfig: its entries}, of the options in LISTS that are given."""
    given = ((name, *how) for name, how in LISTS.items() if args.given(name))
    return {key: [read(name, spec) for spec in args.items(name)] for name, key, read in given}
